"""A further source format is one class outside the package: named by its dotted path, it is found and read like the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from upath import UPath

from laion_coco_assets.contract.shared_columns import SOURCE
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.errors import ProfileError, SourceError
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.resources.store_resource import SourceResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.formats import FORMATS, load_formats
from laion_coco_assets.sources.listing import find_source, list_sources
from laion_coco_assets.sources.normalise import normalised
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.sources.example_sources import write_tar

CSV = f"{__name__}:CsvShard"


class CsvShard(SourceShard):
    """A CSV list of URLs."""

    suffixes = (".csv", ".csv.gz")
    description = "CSV lists of URLs"

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches())

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        with self.path.open("rb", compression="infer") as stream:
            try:
                yield from normalised(self.path, pyarrow.csv.open_csv(stream), start)
            except pa.ArrowInvalid as error:
                raise SourceError(f"{self.path}: not a CSV file: {error}") from None


class AlbumShard(SourceShard):
    """A folder with an index of its photos is one shard."""

    @classmethod
    def takes_folder(cls, folder: UPath) -> bool:
        return (folder / "album.txt").is_file()

    @property
    def rows(self) -> int:
        return len((self.path / "album.txt").read_text().split())

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        urls = (self.path / "album.txt").read_text().split()
        yield from normalised(self.path, [pa.record_batch({"URL": urls, "TEXT": urls})], start)

    @property
    def brings_images(self) -> bool:
        return True

    def images(self, max_bytes: int) -> Iterator[bytes | None]:
        for name in (self.path / "album.txt").read_text().split():
            yield (self.path / name).read_bytes()[:max_bytes]


class Unwritten(SourceShard):
    """A format that somebody has not finished."""

    @property
    def rows(self) -> int:
        return 0


def write_csv(path: Path, rows: int = 3) -> None:
    lines = [f"http://a.invalid/{row},text {row},{640 + row},x" for row in range(rows)]
    path.write_text("\n".join(["url,Text,width,NSFW", *lines]) + "\n")


def test_a_further_format_is_listed_found_and_read(tmp_path: Path) -> None:
    for key in ("b", "a"):
        write_csv(tmp_path / f"{key}.csv")
    formats = load_formats([CSV])
    listed = list_sources(str(tmp_path), formats)
    assert list(listed) == ["a", "b"]
    for source in (tmp_path, tmp_path / "*.csv", tmp_path / "a.csv"):
        assert find_source(str(source), "a", formats) == listed["a"]
        assert find_source(str(source), "z", formats) is None
    shard = listed["a"]
    rows = [row for batch in shard.batches() for row in batch.to_pylist()]
    assert all(batch.schema == SOURCE for batch in shard.batches())
    assert (rows[1]["URL"], rows[1]["TEXT"], rows[1]["WIDTH"]) == ("http://a.invalid/1", "text 1", 641)
    assert rows[1]["source_extra"] == '{"NSFW": "x"}'
    assert [row for batch in shard.batches(2) for row in batch.to_pylist()] == rows[2:]
    assert (shard.rows, shard.brings_images) == (3, False)
    before = shard.version, shard.digest
    write_csv(tmp_path / "a.csv", rows=4)
    changed = list_sources(str(tmp_path), formats)["a"]
    assert changed.version != before[0]
    assert changed.digest != before[1]


def test_without_its_registration_a_folder_of_such_files_is_no_source(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv")
    with pytest.raises(SourceError, match="has no shards") as error:
        list_sources(str(tmp_path))
    assert "CSV" not in str(error.value)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(SourceError, match="Shards are: CSV lists of URLs; parquet files"):
        list_sources(str(tmp_path), load_formats([CSV]))


def test_further_formats_go_before_the_formats_of_the_package(tmp_path: Path) -> None:
    formats = load_formats([CSV])
    pq.write_table(pa.table({"URL": ["u"], "TEXT": ["t"]}), tmp_path / "p.parquet")
    write_tar(tmp_path / "t.tar", {"1.jpg": b""})
    assert list(list_sources(str(tmp_path), formats)) == ["p"]
    shard = find_source(str(tmp_path), "p", formats)
    assert shard == list_sources(str(tmp_path))["p"]
    write_csv(tmp_path / "c.csv")
    assert list(list_sources(str(tmp_path), formats)) == ["c"]
    assert find_source(str(tmp_path), "p", formats) is None
    assert list(list_sources(str(tmp_path / "*"), formats)) == ["c", "p", "t"]


@pytest.mark.parametrize("name", ["p.parquet", "p.csv.gz"])
def test_two_files_of_one_key_in_a_folder_are_a_clear_error(name: str, tmp_path: Path) -> None:
    formats = load_formats([CSV])
    write_csv(tmp_path / "p.csv")
    (tmp_path / name).write_bytes(b"")
    for ask in (lambda: list_sources(str(tmp_path), formats), lambda: find_source(str(tmp_path), "p", formats)):
        with pytest.raises(SourceError, match=r"would both be shard 'p'; name '.*/\*\.csv' \(CSV lists of URLs\) or "):
            ask()


def test_a_further_format_may_take_whole_folders(tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "1.jpg").write_bytes(b"one")
    formats = load_formats([f"{__name__}:AlbumShard"])
    assert type(list_sources(str(album), formats)["album"]) is FORMATS[-1]
    (album / "album.txt").write_text("1.jpg")
    (shard,) = list_sources(str(album), formats).values()
    assert shard == find_source(str(album), "album", formats)
    assert type(shard) is AlbumShard
    assert list(shard.images(2)) == [b"on"]


def test_dagster_reads_a_format_that_the_profile_names(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'base = "demo"\nname = "mine"\nsources = ["{CSV}"]\n')
    (tmp_path / "s.csv").write_text("url,text\nno URL,x\n")
    settings = Settings(profile=str(tmp_path / "mine.toml"), data_dir=str(tmp_path / "out"), source=str(tmp_path))
    source = SourceResource(source=str(tmp_path), formats=[CSV])
    assert list(source.shards()) == ["s"]
    assert source.shard("s") == source.shards()["s"]
    with pytest.raises(SourceError, match="shard 'z' is not in the source"):
        source.shard("z")
    defs = build_defs(settings, {"progress": NoProgress()})
    stage = StageName.FETCHED_IMAGES
    assets: list[Any] = [asset for asset in defs.assets or () if getattr(asset, "key", None) == dg.AssetKey(stage)]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("shards", ["s"])
        assert dg.materialize(
            assets, partition_key="s", instance=instance, resources=dict(defs.resources or {})
        ).success
    (row,) = stage_rows(ShardStore(tmp_path / "out"), stage, "s")
    assert (row["URL"], row["TEXT"], row["reason"]) == ("no URL", "x", "invalid_url")


@pytest.mark.parametrize(
    ("dotted_path", "message"),
    [
        ("no path", "is not of the form package.module:Name"),
        ("no_such_package:Shard", "sources: 'no_such_package:Shard' cannot be loaded"),
        (f"{__name__}:write_csv", "is no source format; derive it from laion_coco_assets.sources.protocol:SourceShard"),
        (f"{__name__}:Path", "is no source format"),
        (f"{__name__}:Unwritten", "sources: '.*:Unwritten' lacks batches"),
    ],
)
def test_a_path_that_names_no_format_is_a_clear_error(dotted_path: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=message):
        SourceResource(source=str(tmp_path), formats=[dotted_path]).shards()
