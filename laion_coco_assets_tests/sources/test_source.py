"""Source shards come in many hands' parquet: every casing and drifted type becomes one schema, or one clear error."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_coco_assets.contract.schemas import SOURCE
from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.source import find_source, list_sources, sample_id


def rows(path: Path, start: int = 0) -> list[dict[str, Any]]:
    (shard,) = list_sources(str(path)).values()
    batches = list(shard.batches(start))
    assert all(each.schema == SOURCE for each in batches)
    return [row for batch in batches for row in batch.to_pylist()]


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    def write(table: dict[str, Any], name: str = "part-00000.parquet") -> Path:
        pq.write_table(pa.table(table), tmp_path / name)
        return tmp_path / name

    return write


@given(url=st.text(), text=st.text())
def test_sample_id_is_the_first_128_bits_of_sha256(url: str, text: str) -> None:
    assert sample_id(url, text) == hashlib.sha256(f"{url}\0{text}".encode()).digest()[:16].hex()


@pytest.mark.parametrize("casing", [str.upper, str.lower, str.title])
def test_any_casing(source: Callable[..., Path], casing: Callable[[str], str]) -> None:
    names = {"URL": ["http://a/1"], "TEXT": ["x"], "WIDTH": [640], "HASH": [7], "PWATERMARK": [0.5]}
    (row,) = rows(source({casing(name): values for name, values in names.items()}))
    assert (row["URL"], row["TEXT"], row["WIDTH"], row["hash"], row["pwatermark"]) == ("http://a/1", "x", 640, 7, 0.5)
    assert row["source_extra"] is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([640, None], pa.int32()), [640, None]),
        (pa.array([640.0, float("nan")]), [640, None]),
        (pa.array([640.0, None], pa.float32()), [640, None]),
        (pa.array(["640", " "]), [640, None]),
        (pa.array([640, 1]).dictionary_encode(), [640, 1]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_a_drifted_width_is_an_integer(source: Callable[..., Path], values: pa.Array, expected: list[int]) -> None:
    found = rows(source({"URL": ["a", "b"], "TEXT": ["c", "d"], "WIDTH": values}))
    assert [each["WIDTH"] for each in found] == expected


def test_an_unsigned_hash_keeps_its_bits(source: Callable[..., Path]) -> None:
    found = rows(source({"URL": ["a"], "TEXT": ["b"], "hash": pa.array([2**64 - 5], pa.uint64())}))
    assert found[0]["hash"] == -5


def test_extra_columns_are_kept_apart(source: Callable[..., Path]) -> None:
    when = datetime(2022, 9, 15, tzinfo=UTC)
    extra = {"NSFW": ["UNLIKELY"], "url": ["other"], "raw": [b"\xff"], "when": [when], "list": [[1.5, float("nan")]]}
    (row,) = rows(source({"URL": ["a"], "TEXT": ["b"], **extra}))
    assert row["URL"] == "a"
    kept = json.loads(row["source_extra"])
    assert kept == {"NSFW": "UNLIKELY", "url": "other", "raw": "/w==", "when": str(when), "list": [1.5, None]}


def test_what_is_no_number_is_null_and_kept_as_it_came(source: Callable[..., Path]) -> None:
    hashes = pa.array([1.2e19, 5.0, None])
    found = rows(source({"URL": ["a", "b", "c"], "TEXT": ["d"] * 3, "WIDTH": ["512.0", "N/A", None], "hash": hashes}))
    assert [row["WIDTH"] for row in found] == [512, None, None]
    assert [row["hash"] for row in found] == [None, 5, None]
    assert [json.loads(row["source_extra"]) for row in found] == [
        {"WIDTH": "512.0", "hash": 1.2e19},
        {"WIDTH": "N/A", "hash": 5.0},
        {"WIDTH": None, "hash": None},
    ]


def test_extra_values_that_python_can_not_hold_keep_their_row(source: Callable[..., Path]) -> None:
    bad_text = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"], pa.binary()).buffers())
    far = pa.array([2**62], pa.timestamp("us"))
    (row,) = rows(source({"URL": ["a"], "TEXT": ["b"], "note": bad_text, "when": far}))
    assert json.loads(row["source_extra"]) == {"note": "caf\ufffd", "when": str(2**62)}


def test_text_that_is_not_utf8_keeps_its_row(source: Callable[..., Path]) -> None:
    (row,) = rows(source({"URL": ["a"], "TEXT": pa.array([b"caf\xe9"])}))
    assert row["TEXT"] == "caf\ufffd"


def test_reading_can_start_anywhere(source: Callable[..., Path]) -> None:
    path = source({"URL": [f"u{i}" for i in range(3000)], "TEXT": ["t"] * 3000})
    assert rows(path, 1500) == rows(path)[1500:]


def test_a_folder_and_a_glob_are_sources_in_order(source: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "c.parquet"):
        source({"URL": ["u"], "TEXT": ["t"]}, name)
    (tmp_path / "notes.txt").write_text("not a shard")
    assert list(list_sources(str(tmp_path))) == ["a", "b", "c"]
    assert list(list_sources(f"{tmp_path}/[ab].parquet")) == ["a", "b"]


def test_the_digest_follows_the_content(source: Callable[..., Path]) -> None:
    path = source({"URL": ["u"], "TEXT": ["t"]})
    (shard,) = list_sources(str(path)).values()
    before = shard.digest
    source({"URL": ["v"], "TEXT": ["t"]})
    assert shard.digest != before


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"TEXT": ["a"]}, "no column URL"),
        ({"URL": ["a"], "caption": ["b"]}, r"no column TEXT \(any casing\); its columns are: URL, caption"),
        ({"URL": [1], "TEXT": ["a"]}, "column URL is int64; it must be text"),
        ({"URL": pa.array([], pa.string()), "TEXT": pa.array([], pa.string())}, "has no rows"),
    ],
)
def test_a_source_that_can_not_be_one_is_a_clear_error(
    source: Callable[..., Path], table: dict[str, Any], message: str
) -> None:
    path = source(table)
    with pytest.raises(SourceError, match=message) as error:
        rows(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"URL,TEXT\na,b\n", b"PAR1 and no more"])
def test_a_file_that_is_not_parquet_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="not a parquet file"):
        rows(path)


def test_nothing_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no \.parquet file there"):
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
            found = {key: shard.path.path for key in keys if (shard := find_source(source, key))}
            assert found == {key: shard.path.path for key, shard in listed.items()}, pattern
