"""Images that a source brings along become the rows that fetching would have made of them, and no network is asked."""

import io
import json
import tarfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.cli.runner import run_shards
from laion_coco_assets.contract.schemas import FETCHED_IMAGES, Stage
from laion_coco_assets.errors import SourceError
from laion_coco_assets.fetching.fetcher import Fetcher
from laion_coco_assets.fetching.rows import fetch_shard
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.source import find_source, list_sources
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.images import pictures

#: Not one of these hosts exists: whoever asks the network gets no image.
A, B, C, D = (f"http://{name}.invalid/x.jpg" for name in "abcd")
JPEG, PNG, HTML = pictures.JPEG, pictures.PNG, b"<!doctype html><html></html>"


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def record(url: str, caption: str | None, **more: Any) -> bytes:
    return json.dumps({"url": url, "caption": caption, "key": "0", "status": "success", **more}).encode()


def tar_source(folder: Path) -> Path:
    files = {
        "__meta__.json": b"{}",
        "000.jpg": JPEG,
        "000.json": record(A, "a cat", width=256, original_width=640, similarity=0.25),
        "000.txt": b"a cat",
        "001.png": PNG,
        "001.json": record(B, None),
        "002.jpg": HTML,
        "002.json": record(C, "c"),
        "003.jpg": JPEG,
        "003.json": record(A, "again"),
        "004.json": record(D, "no image"),
    }
    write_tar(folder / "00000.tar", files)
    return folder / "00000.tar"


def parquet_source(folder: Path) -> Path:
    table = pa.table(
        {
            "url": [A, B, C, A, D],
            "caption": ["a cat", None, "c", "again", "no image"],
            "original": ["kept"] * 5,
            "WIDTH": [640, None, None, None, None],
            "similarity": [0.25, None, None, None, None],
            "jpg": pa.array([JPEG, PNG, HTML, JPEG, None], pa.binary()),
        }
    )
    pq.write_table(table, folder / "00000.parquet")
    return folder / "00000.parquet"


def structs_source(folder: Path) -> Path:
    images = [{"bytes": each, "path": "x"} for each in (JPEG, PNG, HTML, JPEG)] + [None]
    table = pa.table(
        {
            "URL": [A, B, C, A, D],
            "TEXT": ["a cat", None, "c", "again", "no image"],
            "WIDTH": ["640", None, None, None, None],
            "similarity": [0.25, None, None, None, None],
            "image": images,
        }
    )
    pq.write_table(table, folder / "00000.parquet")
    return folder / "00000.parquet"


def rows_of(source: Path, done: int = 0) -> list[dict[str, Any]]:
    (shard,) = list_sources(str(source)).values()
    with Fetcher(pictures.settings()) as fetcher:
        return [row for some in fetch_shard(shard, fetcher, done) for row in some]


@pytest.mark.parametrize("make", [tar_source, parquet_source, structs_source])
def test_tar_and_parquet(make: Callable[[Path], Path], tmp_path: Path) -> None:
    rows = rows_of(make(tmp_path))
    assert [(row["URL"], row["TEXT"], row["reason"]) for row in rows] == [
        (A, "a cat", None),
        (B, None, None),
        (C, "c", "not_an_image"),
        (A, "again", "duplicate_url"),
        (D, "no image", "not_an_image"),
    ]
    assert [row["image"] for row in rows] == [JPEG, PNG, None, None, None]
    assert [row["format"] for row in rows[:2]] == ["JPEG", "PNG"]
    assert (rows[0]["WIDTH"], rows[0]["similarity"]) == (640, 0.25)
    assert rows[3]["detail"] == f"same URL as row 0, sample_id {rows[0]['sample_id']}"
    assert all(row["http_status"] is None and row["final_url"] is None for row in rows)
    pa.RecordBatch.from_pylist(rows, schema=FETCHED_IMAGES)
    assert "image" not in json.loads(rows[0]["source_extra"] or "{}")
    assert rows_of(make(tmp_path), done=1) == rows[1:]  # as a resumed run goes on


def folder_source(folder: Path) -> Path:
    photos = folder / "my photos"
    photos.mkdir()
    (photos / "b.jpg").write_bytes(JPEG)
    (photos / "b.txt").write_text("a bee\n")
    (photos / "a.PNG").write_bytes(PNG)
    (photos / "a.json").write_bytes(record(A, "an ape", hash=5))
    (photos / "c.webp").write_bytes(HTML)
    (photos / "c.json").write_text("[broken")
    (photos / "notes.pdf").write_bytes(b"%PDF")
    return photos


def test_a_folder_of_images(tmp_path: Path) -> None:
    rows = rows_of(folder_source(tmp_path))
    assert [(row["URL"], row["TEXT"], row["reason"]) for row in rows] == [
        (A, "an ape", None),
        ("my%20photos/b.jpg", "a bee", None),
        ("my%20photos/c.webp", None, "not_an_image"),
    ]
    assert rows[0]["hash"] == 5
    assert [row["image"] for row in rows] == [PNG, JPEG, None]


def test_a_folder_of_names_with_dots_is_a_source(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "png").write_bytes(PNG)  # a name without an extension
    with pytest.raises(SourceError, match="nor a tar or images"):
        list_sources(str(photos))
    (photos / "img.0001.jpg").write_bytes(JPEG)
    (photos / "img.0001.txt").write_text("one")
    assert [(row["URL"], row["TEXT"], row["reason"]) for row in rows_of(photos)] == [
        ("photos/img.0001.jpg", "one", None)
    ]


@pytest.mark.parametrize("make", [tar_source, parquet_source, folder_source])
def test_the_stage_runs_on_it_and_its_checks_pass(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = make(tmp_path)
    settings = Settings(profile="demo", data_dir=str(tmp_path / "out"), source=str(source))
    (key,) = list_sources(str(source))
    stages = (Stage.FETCHED_IMAGES,)
    (outcome,) = run_shards(settings, [key], NoProgress(), stages=stages)
    assert (outcome.errors, outcome.failed_checks) == ({}, [])
    assert sum(row["status"] == "ok" for row in stage_rows(ShardStore(tmp_path / "out"), stages[0], key)) == 2
    (again,) = run_shards(settings, [key], NoProgress(), stages=stages)
    assert again.metadata[stages[0]]["skipped"]
    retry = {stages[0]: {"retry": ["not_an_image"]}}
    (refused,) = run_shards(settings, [key], NoProgress(), stages=stages, config=retry)
    assert "brings its images along" in refused.errors[stages[0]]


def test_images_without_urls_break_no_rule(tmp_path: Path) -> None:
    """They are no duplicates of each other, though those of one alt text have one sample_id."""
    table = pa.table(
        {
            "URL": pa.array([None] * 4, pa.string()),
            "TEXT": pa.array([None, None, "a cat", "a cat"], pa.string()),
            "WIDTH": [1, 2, 3, 4],
            "jpg": pa.array([JPEG, PNG, PNG, JPEG], pa.binary()),
        }
    )
    pq.write_table(table, tmp_path / "s.parquet")
    settings = Settings(profile="demo", data_dir=str(tmp_path / "out"), source=str(tmp_path / "s.parquet"))
    (outcome,) = run_shards(settings, ["s"], NoProgress())
    assert (outcome.errors, outcome.failed_checks) == ({}, [])
    published = list(stage_rows(ShardStore(tmp_path / "out"), Stage.PUBLISHED, "s"))
    assert [row["WIDTH"] for row in published] == [1, 2, 3, 4]
    assert len({row["sample_id"] for row in published}) == 2


def test_a_folder_is_its_parquet_or_its_tars_or_its_images(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(JPEG)
    assert list(list_sources(str(tmp_path))) == [tmp_path.name]
    assert find_source(str(tmp_path), tmp_path.name) is not None
    tar_source(tmp_path)
    assert list(list_sources(str(tmp_path))) == ["00000"]
    for source in (tmp_path, tmp_path / "*.tar", tmp_path / "00000.tar"):
        found = find_source(str(source), "00000")
        assert found is not None
        assert found == list_sources(str(source))["00000"]
        assert found.path.name == "00000.tar"
        assert find_source(str(source), "00001") is None
    parquet_source(tmp_path)
    with pytest.raises(SourceError, match="both be shard"):
        list_sources(str(tmp_path / "0*"))
    for ask in (lambda: list_sources(str(tmp_path)), lambda: find_source(str(tmp_path), "00000")):
        with pytest.raises(SourceError, match=r"'.*/\*\.tar' to take the images that are there"):
            ask()
    for suffix in ("tar", "parquet"):
        assert list_sources(str(tmp_path / f"*.{suffix}"))["00000"].path.name == f"00000.{suffix}"
    (tmp_path / "00000.tar").rename(tmp_path / "00001.tar")
    assert list(list_sources(str(tmp_path))) == ["00000"]


def test_a_changed_folder_has_another_digest_and_version(tmp_path: Path) -> None:
    source = folder_source(tmp_path)
    (shard,) = list_sources(str(source)).values()
    before = shard.digest, shard.version
    assert (shard.digest, shard.version) == before
    (source / "b.txt").write_text("another caption\n")
    assert shard.digest != before[0]
    assert shard.version != before[1]


def test_limits_hold(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "large.jpg").write_bytes(JPEG + bytes(1 << 20))
    (folder / "ok.jpg").write_bytes(JPEG)
    (shard,) = list_sources(str(folder)).values()
    with Fetcher(pictures.settings(max_bytes=1 << 20)) as fetcher:
        rows = [row for some in fetch_shard(shard, fetcher, 0) for row in some]
    assert [row["reason"] for row in rows] == ["too_large", None]
    assert max(len(image or b"") for image in shard.images(100)) == 100


@pytest.mark.parametrize("content", [b"no tar", tarfile.TarInfo("a.jpg").tobuf()[:300], b""])
def test_a_damaged_tar_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    with pytest.raises(SourceError, match=r"s\.tar"):
        _ = shard.rows


def test_a_tar_cut_in_an_image_is_one_clear_error(tmp_path: Path) -> None:
    whole = tar_source(tmp_path)
    (tmp_path / "s.tar").write_bytes(whole.read_bytes()[:700])
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    with pytest.raises(SourceError, match="not a whole tar file"):
        list(shard.images(1 << 20))


def test_a_tar_damaged_or_cut_between_members_is_one_clear_error(tmp_path: Path) -> None:
    whole = tar_source(tmp_path).read_bytes()
    with tarfile.open(tmp_path / "00000.tar") as tar:
        header = tar.getmember("002.jpg").offset
    spoilt = [
        whole[:header] + b"\xff" * 100 + whole[header + 100 :],  # damaged
        whole[:header],  # cut at a header
        whole[: header + 100],  # cut in a header
        whole[:header] + bytes(512) + whole[header:],  # zeros in the middle
        whole[:header] + bytes(100),  # cut in the end
        whole + whole,  # two in a row
    ]
    for content in spoilt:
        (tmp_path / "s.tar").write_bytes(content)
        (shard,) = list_sources(str(tmp_path / "s.tar")).values()
        with pytest.raises(SourceError, match="not a whole tar file"):
            _ = shard.rows
    (tmp_path / "s.tar").write_bytes(whole[:header] + bytes(512))  # one block says it, as tar itself has it
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    assert shard.rows == 2


def _size_as_base_256(size: int) -> bytes:
    return size.to_bytes(12, "big", signed=True) if size < 0 else b"\x80" + size.to_bytes(11, "big")


def _header(name: str, size: int, kind: bytes) -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = _size_as_base_256(size)
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


def _extended(name: str, headers: dict[str, str]) -> bytes:
    member = tarfile.TarInfo(name)
    member.pax_headers = headers
    return member.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize(
    "header",
    [
        _header("x.jpg", -512, tarfile.REGTYPE),
        _header("x.jpg", -1024, tarfile.GNUTYPE_SPARSE),
        _header("x", -512, tarfile.XHDTYPE),
        _header("x", -1024, tarfile.GNUTYPE_LONGNAME),
        _header("x", 1 << 40, tarfile.XHDTYPE),
        _extended("x.jpg", {"size": "-2048"}),
    ],
    ids=["member", "sparse", "extended", "long name", "extended, endless", "by an extended header"],
)
def test_a_tar_whose_sizes_lead_backwards_or_nowhere_is_one_clear_error(header: bytes, tmp_path: Path) -> None:
    """Without a check, tarfile goes over the same members for ever (CVE-2025-8194)."""
    whole = tar_source(tmp_path).read_bytes()
    with tarfile.open(tmp_path / "00000.tar") as tar:
        end = tar.getmembers()[-1].offset
    (tmp_path / "s.tar").write_bytes(whole[:end] + header + whole[end:])
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    with pytest.raises(SourceError, match="not a whole tar file"):
        list(islice(shard.images(100), 100))


def test_no_member_of_a_tar_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tarfile.TarFile] = []
    really = tarfile.open

    def noted(*arguments: Any, **named: Any) -> tarfile.TarFile:
        opened.append(really(*arguments, **named))
        return opened[-1]

    write_tar(tmp_path / "s.tar", {f"{number:03}.jpg": JPEG for number in range(50)})
    (shard,) = list_sources(str(tmp_path / "s.tar")).values()
    monkeypatch.setattr(tarfile, "open", noted)
    kept = [len(opened[0].members) for _ in shard.images(100)]
    assert (len(kept), max(kept)) == (50, 0)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_width_is_that_of_the_picture_before_img2dataset_resized_it(kind: str, tmp_path: Path) -> None:
    sizes = {"width": 256, "height": 192, "original_width": 640, "original_height": 480}
    if kind == "tar":
        write_tar(tmp_path / "s.tar", {"a.jpg": JPEG, "a.json": record(A, "a", **sizes)})
    else:
        columns = {"url": [A], "caption": ["a"], **{name: [size] for name, size in sizes.items()}, "jpg": [JPEG]}
        pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    (row,) = rows_of(tmp_path / f"s.{kind}")
    assert (row["WIDTH"], row["HEIGHT"]) == (640, 480)
    extra = json.loads(row["source_extra"])
    assert (extra["width"], extra["height"]) == (256, 192)


def test_an_odd_record_costs_no_other_row(tmp_path: Path) -> None:
    deep = {f"{d}": b'{"caption": "c", "x": ' + b"[" * d + b"]" * d + b"}" for d in range(100, 1200, 50)}
    files = {"a.jpg": JPEG, "a.json": b'{"": "x"}'}
    for name, content in deep.items():
        files |= {f"{name}.jpg": JPEG, f"{name}.json": content}
    write_tar(tmp_path / "s.tar", files | {"z.jpg": JPEG, "z.json": record(B, "z")})
    first, *odd, last = rows_of(tmp_path / "s.tar")
    assert (first["URL"], json.loads(first["source_extra"])) == ("s.tar/a.jpg", {"": "x"})
    assert (last["URL"], last["TEXT"]) == (B, "z")
    assert odd[0]["TEXT"] == "c"
    assert (odd[-1]["TEXT"], odd[-1]["source_extra"]) == (None, None)
    assert all(row["reason"] is None for row in odd)


@pytest.mark.parametrize("place", ["s.tar", "s"])
def test_each_image_of_one_name_is_a_row(place: str, tmp_path: Path) -> None:
    same = {"a.jpg": JPEG, "b.jpg": JPEG, "b.png": PNG, "b.txt": b"a bee"}
    with_url = {"c.jpg": JPEG, "c.json": record(A, "c"), "c.png": PNG, "d.jpg": JPEG}
    if place == "s":
        (tmp_path / "s").mkdir()
        for name, content in (same | with_url).items():
            (tmp_path / "s" / name).write_bytes(content)
    else:
        write_tar(tmp_path / "s.tar", same | with_url)
    rows = rows_of(tmp_path / place)
    assert [(row["URL"], row["TEXT"], row["reason"]) for row in rows] == [
        (f"{place}/a.jpg", None, None),
        (f"{place}/b.jpg", "a bee", None),
        (f"{place}/b.png", "a bee", None),
        (A, "c", None),
        (A, "c", "duplicate_url"),
        (f"{place}/d.jpg", None, None),
    ]
    assert [row["image"] for row in rows] == [JPEG, JPEG, PNG, JPEG, None, JPEG]


def test_names_that_stand_for_urls_are_distinct_and_can_be_taken_down(tmp_path: Path) -> None:
    photos = tmp_path / "Photos"
    photos.mkdir()
    names = ["a#1.jpg", "a#2.jpg", "a%231.jpg", "a?.jpg", "my cat.jpg"]
    for name in names:
        (photos / name).write_bytes(JPEG)
    rows = rows_of(photos)
    assert [row["URL"] for row in rows] == [
        "Photos/a%231.jpg",
        "Photos/a%232.jpg",
        "Photos/a%25231.jpg",
        "Photos/a%3F.jpg",
        "Photos/my%20cat.jpg",
    ]
    assert [row["reason"] for row in rows] == [None] * 5
    for entry, row in [*((row["URL"], row) for row in rows), ("Photos/my cat.jpg", rows[4])]:
        removals = RemovalList.of([entry])
        assert [each for each in rows if removals.entry(each["sample_id"], each["URL"])] == [row]


def test_strange_names_and_records_are_text(tmp_path: Path) -> None:
    files = {
        "../../etc/x.jpg": JPEG,
        "b\udcff.jpg": JPEG,
        "c.jpg": JPEG,
        "c.json": b'{"url": 5, "caption": "\\ud800", "WIDTH": "wide", "deep": NaN}',
        "d.jpg": JPEG,
        "d.txt": b"\xff\xfe",
    }
    write_tar(tmp_path / "s.tar", files)
    rows = rows_of(tmp_path / "s.tar")
    assert [row["URL"] for row in rows] == ["s.tar/../../etc/x.jpg", "s.tar/b%FF.jpg", "s.tar/c.jpg", "s.tar/d.jpg"]
    assert [row["reason"] for row in rows] == [None] * 4
    assert rows[2]["TEXT"] == "?"
    assert json.loads(rows[2]["source_extra"]) == {"url": 5, "WIDTH": "wide", "deep": None}
    pa.RecordBatch.from_pylist(rows, schema=FETCHED_IMAGES)
