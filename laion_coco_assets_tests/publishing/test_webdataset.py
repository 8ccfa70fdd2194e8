"""A tar holds what is published with its images, appears whole, and is left alone while it is right."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.publishing.webdataset import Exported, export_fetched, export_shard, keep_one_stage
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import PUBLISHED, stage_writer

ROWS = 600
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}


def image(row: int) -> bytes:
    return row.to_bytes(4, "big") * 5_000


def is_ok(row: int) -> bool:
    return row % 3 != 1


def format_of(row: int) -> str:
    return list(FORMATS)[row % len(FORMATS)]


def fetched(row: int, version: str) -> dict[str, Any]:
    got = {"status": "ok", "format": format_of(row), "image": image(row)} if is_ok(row) else {"status": "rejected"}
    text = {"TEXT": f"ein Käfer {row}"} if row % 2 else {}
    return {"row": row, "sample_id": f"{row:032x}", "URL": f"http://x/{version}/{row}", **text, **got}


def fetch(store: ShardStore, shard: str, version: str = "a") -> None:
    with stage_writer(store, StageKey(StageName.FETCHED_IMAGES, shard, "f" * 32, {"source": version})) as writer:
        writer.append([fetched(row, version) for row in range(ROWS)])


def publish(store: ShardStore, shard: str, wanted: list[int]) -> list[dict[str, Any]]:
    inputs = {
        StageName.FETCHED_IMAGES.value: store.need(StageName.FETCHED_IMAGES, shard).content,
        "removals": str(len(wanted)),
    }
    rows = [
        dict.fromkeys(PUBLISHED.names)
        | {
            "sample_id": f"{row:032x}",
            "URL": f"http://x/{row}",
            "TEXT": "ein Käfer 🐞\n",
            "top_caption": f"a beetle {row} \u2028 é",
            "all_captions": ["a", "b"],
            "all_similarities": [0.1 + row, 0.25],
            "all_multiplicities": [1, 2],
            "hash": -(1 << 63),
            "sha256": "0" * 64,
            "fingerprint": "f",
        }
        for row in wanted
    ]
    with stage_writer(store, StageKey(StageName.PUBLISHED, shard, "f" * 32, inputs)) as writer:
        writer.append(rows)
    return rows


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    store = ShardStore(tmp_path / "data")
    fetch(store, "s")
    return store


@pytest.fixture(params=["local", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path / "tars" if request.param == "local" else f"memory://{tmp_path.name}-{os.getpid()}")


def export(store: ShardStore, target: ShardStore) -> Exported:
    return export_shard(store, "s", target, NoProgress())


def contents(target: ShardStore) -> dict[str, bytes]:
    with (target.root / "s.tar").open("rb") as stream, tarfile.open(fileobj=stream) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_a_sample_is_image_caption_and_row(store: ShardStore, target: ShardStore) -> None:
    wanted = [row for row in range(ROWS) if is_ok(row) and row % 7]  # some are not published: removed, or no caption
    rows = publish(store, "s", wanted)
    assert export(store, target) == Exported(len(wanted), written=True)
    expected: dict[str, bytes] = {}
    for number, row in zip(wanted, rows, strict=True):
        expected[f"{number:032x}.{FORMATS[format_of(number)]}"] = image(number)
        expected[f"{number:032x}.txt"] = row["top_caption"].encode()
    found = contents(target)
    assert {name: content for name, content in found.items() if not name.endswith(".json")} == expected
    assert [json.loads(content) for name, content in found.items() if name.endswith(".json")] == rows
    keys = [name.partition(".")[0] for name in found]
    assert keys == [
        f"{number:032x}" for number in wanted for _ in range(3)
    ]  # WebDataset wants a sample's files together
    assert [each.name for each in target.root.iterdir()] == ["s.tar"]


def test_what_was_fetched_goes_without_publication(store: ShardStore, target: ShardStore) -> None:
    wanted = [row for row in range(ROWS) if is_ok(row)]
    assert export_fetched(store, "s", target, NoProgress()) == Exported(len(wanted), written=True)
    found = contents(target)
    assert len(found) == 3 * len(wanted)
    for row in wanted:
        assert found[f"{row:032x}.{FORMATS[format_of(row)]}"] == image(row)
        assert found[f"{row:032x}.txt"].decode() == (f"ein Käfer {row}" if row % 2 else "")
        said = json.loads(found[f"{row:032x}.json"])
        assert (said["URL"], said["status"]) == (f"http://x/a/{row}", "ok")
        assert "image" not in said
    assert not export_fetched(store, "s", target, NoProgress()).written
    fetch(store, "s", "b")
    assert export_fetched(store, "s", target, NoProgress()).written


def test_a_right_tar_is_skipped_and_another_content_replaces_it(store: ShardStore, tmp_path: Path) -> None:
    target = ShardStore(tmp_path / "tars")
    path = tmp_path / "tars" / "s.tar"
    publish(store, "s", [0, 2, 3])
    export(store, target)
    before, inode = path.read_bytes(), path.stat().st_ino
    assert export(store, target) == Exported(3, written=False)
    assert path.stat().st_ino == inode
    path.unlink()
    assert export(store, target).written
    assert path.read_bytes() == before  # nothing of the day or the machine in it
    publish(store, "s", [0, 3])
    assert export(store, target) == Exported(2, written=True)
    assert {name.partition(".")[0] for name in contents(target)} == {f"{0:032x}", f"{3:032x}"}
    publish(store, "s", [])
    assert export(store, target) == Exported(0, written=False)
    assert not path.exists()  # what was taken down is not left behind


class Interrupts(NoProgress):
    def advance(self, rows: int) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_the_old_tar_and_nothing_else(store: ShardStore, target: ShardStore) -> None:
    publish(store, "s", [0, 2])
    export(store, target)
    before = contents(target)
    publish(store, "s", [0])
    with pytest.raises(KeyboardInterrupt):
        export_shard(store, "s", target, Interrupts())
    assert contents(target) == before
    assert [each.name for each in target.root.iterdir()] == ["s.tar"]
    export(store, target)
    assert len(contents(target)) == 3


def test_other_images_than_those_that_were_captioned_are_refused(store: ShardStore, target: ShardStore) -> None:
    publish(store, "s", [0, 2])
    fetch(store, "s", version="b")
    with pytest.raises(StoreError, match="made from other images"):
        export(store, target)


def test_a_published_row_without_its_image_is_an_error(store: ShardStore, target: ShardStore) -> None:
    publish(store, "s", [0, 1])
    with pytest.raises(StoreError, match=f"sample {1:032x} of shard s is published, but has no image"):
        export(store, target)
    assert not (target.root / "s.tar").exists()


@pytest.mark.parametrize("content", [b"no tar", b"", None])
def test_a_strangers_file_is_not_overwritten(content: bytes | None, store: ShardStore, tmp_path: Path) -> None:
    path = tmp_path / "tars" / "s.tar"
    path.parent.mkdir()
    if content is None:
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("000.jpg"))
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    publish(store, "s", [0])
    with pytest.raises(StoreError, match="not written by this command"):
        export(store, ShardStore(path.parent))
    assert path.read_bytes() == before


@pytest.mark.parametrize("first", [StageName.PUBLISHED, StageName.FETCHED_IMAGES])
def test_a_tar_of_another_stage_is_neither_replaced_nor_removed(
    first: StageName, store: ShardStore, target: ShardStore
) -> None:
    exports = {StageName.PUBLISHED: export_shard, StageName.FETCHED_IMAGES: export_fetched}
    export_first = exports.pop(first)
    ((second, export_second),) = exports.items()
    publish(store, "s", [0, 2])
    assert export_first(store, "s", target, NoProgress()).written
    before = (target.root / "s.tar").read_bytes()
    refusal = f"s.tar was made from {first}, .*: name another folder for those of {second}"
    with pytest.raises(StoreError, match=refusal):
        export_second(store, "s", target, NoProgress())
    if second is StageName.PUBLISHED:
        publish(store, "s", [])  # a shard with nothing published loses its tar, not another stage's
        with pytest.raises(StoreError, match=refusal):
            export_second(store, "s", target, NoProgress())
    assert (target.root / "s.tar").read_bytes() == before
    assert [each.name for each in target.root.iterdir()] == ["s.tar"]


def test_a_folder_holds_tars_of_one_stage(store: ShardStore, target: ShardStore) -> None:
    keep_one_stage(target, StageName.PUBLISHED)  # no such folder
    target.root.mkdir(parents=True)
    (target.root / "a stranger's.tar").write_bytes(b"no tar")
    (target.root / "notes.txt").write_bytes(b"")
    for stage in (StageName.PUBLISHED, StageName.FETCHED_IMAGES):
        keep_one_stage(target, stage)  # none of ours there
    export_fetched(store, "s", target, NoProgress())
    keep_one_stage(target, StageName.FETCHED_IMAGES)
    with pytest.raises(StoreError, match=r"s\.tar was made from fetched_images"):
        keep_one_stage(target, StageName.PUBLISHED)


def test_a_folder_that_can_not_be_written_to_is_one_clear_error(store: ShardStore, tmp_path: Path) -> None:
    publish(store, "s", [0])
    (tmp_path / "tars").write_text("a file")
    with pytest.raises(StoreError, match=r"s\.tar cannot be written"):
        export(store, ShardStore(tmp_path / "tars"))


class Watches(NoProgress):
    """The most memory that arrow held beyond what it held at the start."""

    def __init__(self) -> None:
        self._before = pa.total_allocated_bytes()
        self.most = 0

    def advance(self, rows: int) -> None:
        self.most = max(self.most, pa.total_allocated_bytes() - self._before)


def test_memory_is_that_of_a_part_of_the_images(store: ShardStore, tmp_path: Path) -> None:
    wanted = [row for row in range(ROWS) if is_ok(row)]
    publish(store, "s", wanted)
    watch = Watches()
    export_shard(store, "s", ShardStore(tmp_path / "tars"), watch)
    assert 0 < watch.most < sum(len(image(row)) for row in wanted) / 2
