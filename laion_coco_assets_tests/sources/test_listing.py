"""The shards of a file, a folder or a glob are found, each by its key, or one clear error says why not."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.listing import find_source, list_sources
from laion_coco_assets_tests.sources.example_sources import JPEG, parquet_source, tar_source


def test_a_folder_and_a_glob_are_sources_in_order(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "c.parquet"):
        pq.write_table(pa.table({"URL": ["u"], "TEXT": ["t"]}), tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a shard")
    assert list(list_sources(str(tmp_path))) == ["a", "b", "c"]
    assert list(list_sources(f"{tmp_path}/[ab].parquet")) == ["a", "b"]


def test_nothing_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"does not exist, or has no shards; name .* Shards are: parquet files .*; WebDataset tars"
    ):
        list_sources(str(tmp_path / "nowhere"))


def test_a_hidden_file_is_no_shard_and_a_name_too_long_for_what_is_made_of_it_an_error(tmp_path: Path) -> None:
    table = pa.table({"URL": ["http://a/"], "TEXT": ["x"]})
    pq.write_table(table, tmp_path / "._a.parquet")
    pq.write_table(table, tmp_path / "a.parquet")
    assert list(list_sources(str(tmp_path))) == ["a"]
    pq.write_table(table, tmp_path / f"{'x' * 201}.parquet")
    with pytest.raises(SourceError, match="with 200 bytes at most; rename the file"):
        list_sources(str(tmp_path))


def test_two_files_of_one_stem_are_a_clear_error(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"URL": ["u"], "TEXT": ["t"]}), tmp_path / folder / "same.parquet")
    with pytest.raises(SourceError, match="would both be shard 'same'"):
        list_sources(f"{tmp_path}/*/*.parquet")


def test_one_shard_is_found_as_the_listing_finds_it(tmp_path: Path) -> None:
    for name in ("a", "b", "deep/a", "deep/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"URL": ["u"], "TEXT": ["t"]}), tmp_path / f"{name}.parquet")
    for pattern in ("", "/*.parquet", "/a*", "/b.parquet", "/deep", "/d*/*.parquet", "/deep/**", "/none.parquet"):
        source = f"{tmp_path}{pattern}"
        try:
            listed = list_sources(source)
        except SourceError:
            listed = {}
        keys = ("a", "b", "c", "z", "deep/a", "../a", "")
        if listed:
            paths = {key: shard.path.path for key in keys if (shard := find_source(source, key))}
            assert paths == {key: shard.path.path for key, shard in listed.items()}, pattern


def test_a_folder_is_its_parquet_or_its_tars_or_its_images(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(JPEG)
    assert list(list_sources(str(tmp_path))) == [tmp_path.name]
    assert find_source(str(tmp_path), tmp_path.name) is not None
    tar_source(tmp_path)
    assert list(list_sources(str(tmp_path))) == ["00000"]
    for source in (tmp_path, tmp_path / "*.tar", tmp_path / "00000.tar"):
        shard = find_source(str(source), "00000")
        assert shard is not None
        assert shard == list_sources(str(source))["00000"]
        assert shard.path.name == "00000.tar"
        assert find_source(str(source), "00001") is None
    parquet_source(tmp_path)
    with pytest.raises(SourceError, match="both be shard"):
        list_sources(str(tmp_path / "0*"))
    for ask in (lambda: list_sources(str(tmp_path)), lambda: find_source(str(tmp_path), "00000")):
        with pytest.raises(
            SourceError, match=r"00000\.parquet and 00000\.tar, .*'.*/\*\.tar' \(WebDataset tars, .* hold the images\)"
        ):
            ask()
    for suffix in ("tar", "parquet"):
        assert list_sources(str(tmp_path / f"*.{suffix}"))["00000"].path.name == f"00000.{suffix}"
    (tmp_path / "00000.tar").rename(tmp_path / "00001.tar")
    assert list(list_sources(str(tmp_path))) == ["00000"]
