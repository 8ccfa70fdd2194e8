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

from laion_coco_assets.contract.shared_columns import SOURCE
from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets.sources.sample_id import sample_id


def rows(path: Path, start: int = 0) -> list[dict[str, Any]]:
    (shard,) = list_sources(str(path)).values()
    batches = list(shard.batches(start))
    assert all(batch.schema == SOURCE for batch in batches)
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
    normalised_rows = rows(source({"URL": ["a", "b"], "TEXT": ["c", "d"], "WIDTH": values}))
    assert [row["WIDTH"] for row in normalised_rows] == expected


def test_an_unsigned_hash_keeps_its_bits(source: Callable[..., Path]) -> None:
    normalised_rows = rows(source({"URL": ["a"], "TEXT": ["b"], "hash": pa.array([2**64 - 5], pa.uint64())}))
    assert normalised_rows[0]["hash"] == -5


def test_extra_columns_are_kept_apart(source: Callable[..., Path]) -> None:
    when = datetime(2022, 9, 15, tzinfo=UTC)
    extra = {"NSFW": ["UNLIKELY"], "url": ["other"], "raw": [b"\xff"], "when": [when], "list": [[1.5, float("nan")]]}
    (row,) = rows(source({"URL": ["a"], "TEXT": ["b"], **extra}))
    assert row["URL"] == "a"
    kept = json.loads(row["source_extra"])
    assert kept == {"NSFW": "UNLIKELY", "url": "other", "raw": "/w==", "when": str(when), "list": [1.5, None]}


def test_what_is_no_number_is_null_and_kept_as_it_came(source: Callable[..., Path]) -> None:
    hashes = pa.array([1.2e19, 5.0, None])
    normalised_rows = rows(
        source({"URL": ["a", "b", "c"], "TEXT": ["d"] * 3, "WIDTH": ["512.0", "N/A", None], "hash": hashes})
    )
    assert [row["WIDTH"] for row in normalised_rows] == [512, None, None]
    assert [row["hash"] for row in normalised_rows] == [None, 5, None]
    assert [json.loads(row["source_extra"]) for row in normalised_rows] == [
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
