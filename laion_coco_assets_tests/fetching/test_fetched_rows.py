"""What the row says beyond the fetcher's answer: whether the bytes have the source's md5, which sample a URL repeats."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from laion_coco_assets.cli.runner import run_shards
from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.contract.shared_columns import SOURCE
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.duplicates import SampleIds
from laion_coco_assets.fetching.fetched_rows import appendable, fetch_shard, fetched_row
from laion_coco_assets.fetching.fetcher import Fetched, Fetcher
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.parquet import ParquetShard
from laion_coco_assets.sources.sample_id import sample_id
from laion_coco_assets_tests.contracts import FETCHED_IMAGES
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, BadServer, Connection
from laion_coco_assets_tests.images import pictures

IMAGE = b"the bytes of an image"
MD5 = hashlib.md5(IMAGE).hexdigest()


def row(extra: dict | None, result: Fetched) -> dict:
    source = dict.fromkeys(SOURCE.names) | {
        "row": 0,
        "sample_id": "0" * 32,
        "source_extra": None if extra is None else json.dumps(extra),
    }
    made = fetched_row(source, result, SampleIds())
    assert list(made) == FETCHED_IMAGES.names
    pa.RecordBatch.from_pylist([made], schema=FETCHED_IMAGES)
    return made


@pytest.mark.parametrize(
    ("extra", "matches"),
    [
        ({"md5": MD5}, True),
        ({"MD5": MD5.upper()}, True),
        ({"Md5": f" {MD5} "}, True),
        ({"md5": "0" * 32}, False),
        ({"md5": ""}, None),
        ({"md5": None}, None),
        ({"md5": 5}, None),
        ({"md5": "not a hash"}, None),
        ({"sha256": MD5}, None),
        ({"other": 1}, None),
        (None, None),
    ],
)
def test_md5(extra: dict | None, matches: bool | None):
    assert row(extra, Fetched(None, image=IMAGE))["md5_matches"] is matches


def test_without_bytes_there_is_nothing_to_compare():
    assert row({"md5": MD5}, Fetched(Reason.DNS, "no such name"))["md5_matches"] is None


@pytest.mark.parametrize("done", [0, 1, 3, 5])
def test_a_duplicate_names_the_sample_that_it_repeats_after_a_resume_too(done: int, tmp_path: Path):
    urls = ["data:,a", "data:,b", "data:,a", "http://user:name@a.example/", "data:,b#part", "data:,b"]
    texts = [f"row {number}" for number in range(len(urls))]
    pq.write_table(pa.table({"URL": urls, "TEXT": texts}), tmp_path / "s.parquet")
    a, b = sample_id(urls[0], texts[0]), sample_id(urls[1], texts[1])
    details = {
        2: f"same URL as row 0, sample_id {a}",
        4: f"same URL as row 1, sample_id {b}",
        5: f"same URL as row 1, sample_id {b}",
    }
    with Fetcher(pictures.settings()) as fetcher:
        rows = [
            row for some in fetch_shard(ParquetShard("s", UPath(tmp_path / "s.parquet")), fetcher, done) for row in some
        ]
    assert [row["row"] for row in rows] == list(range(done, len(urls)))
    assert {row["row"]: row["detail"] for row in rows if row["reason"] == "duplicate_url"} == {
        number: detail for number, detail in details.items() if number >= done
    }


def test_a_row_that_fails_ends_the_requests_of_later_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Broken(ParquetShard):
        """Its rows hold no JSON where they should."""

        def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
            for batch in super().batches(start):
                place = batch.schema.get_field_index("source_extra")
                yield batch.set_column(place, "source_extra", pa.array(["no JSON"] * batch.num_rows))

    others_were_asked_for = asyncio.Event()

    async def first(at: Connection) -> None:
        await others_were_asked_for.wait()
        await at.answer("200 OK", pictures.JPEG, "Connection: close")

    async def other(at: Connection) -> None:
        others_were_asked_for.set()
        await at.for_ever()

    monkeypatch.setitem(BEHAVIOURS, "/first", first)
    monkeypatch.setitem(BEHAVIOURS, "/other", other)
    loopback = FetchDeployment(allow_networks=("127.0.0.0/8",))
    with BadServer() as server:
        urls = [server.url("/first"), *(server.url(f"/other?{row}") for row in range(4))]
        pq.write_table(pa.table({"URL": urls, "TEXT": ["text"] * len(urls)}), tmp_path / "s.parquet")
        with Fetcher(pictures.settings(total_timeout_s=600.0), loopback) as fetcher:
            rows = fetch_shard(Broken("s", UPath(tmp_path / "s.parquet")), fetcher, 0)
            with pytest.raises(json.JSONDecodeError) as failure:
                next(rows)
            while server.at_once:  # what is never closed ends in pytest's timeout
                pass
            assert failure.value.__traceback__ is not None  # which holds on to all that was under way


def test_rows_are_handed_on_before_they_are_many_large_or_old(monkeypatch: pytest.MonkeyPatch):
    def cut(*sizes: int | None) -> list[int]:
        return [len(some) for some in appendable({"image_bytes": size} for size in sizes)]

    assert cut() == []
    assert cut(*[None] * 120) == [50, 50, 20]
    assert cut(*[20_000_000] * 3) == [1, 1, 1]
    assert cut(*[9 << 20, None] * 4) == [3, 4, 1]
    now = iter(range(100))
    monkeypatch.setattr("laion_coco_assets.fetching.fetched_rows.time.monotonic", lambda: 2.0 * next(now))
    assert cut(*[1] * 7) == [3, 3, 1]  # a row every two seconds


_KEEPS = """
import resource, sys
from pathlib import Path
from upath import UPath
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.fetcher import Fetcher
from laion_coco_assets.fetching.fetched_rows import fetch_shard
from laion_coco_assets.sources.folder import FolderShard
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer
from laion_coco_assets_tests.images import pictures

folder = Path(sys.argv[1])
source, store = FolderShard("s", UPath(folder / "source")), ShardStore(folder / "out")
settings, deployment = pictures.settings(max_bytes=20_000_000), FetchDeployment(decode_workers=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Fetcher(settings, deployment) as fetcher, stage_writer(store, StageKey("fetched_images", "s", "f")) as writer:
    for rows in fetch_shard(source, fetcher, 0):
        writer.append(rows)
print(store.need("fetched_images", "s").rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_large_images_take_bounded_memory_on_their_way_into_the_file(tmp_path: Path):
    """A few times a row group's 128 MiB, however many rows there are."""
    (tmp_path / "source").mkdir()
    first = tmp_path / "source" / "0.jpg"
    first.write_bytes(pictures.JPEG + bytes(19_000_000))
    for number in range(1, 30):
        os.link(first, first.with_name(f"{number}.jpg"))
    command = [sys.executable, "-c", _KEEPS, str(tmp_path)]
    kept = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert kept.returncode == 0, kept.stderr
    rows, held = (int(word) for word in kept.stdout.split())
    assert rows == 30
    assert held < 1_200_000_000


def test_a_shard_of_repeated_unusable_urls_passes_its_checks(tmp_path: Path):
    urls = [None, "", "bad", "bad", "data:,a", "data:,a", None, " bad "]
    (tmp_path / "source").mkdir()
    pq.write_table(pa.table({"URL": urls, "TEXT": ["text"] * len(urls)}), tmp_path / "source" / "s.parquet")
    settings = Settings(profile="demo", data_dir=str(tmp_path), source=str(tmp_path / "source"))
    (outcome,) = run_shards(settings, ["s"], NoProgress(), stages=(StageName.FETCHED_IMAGES,))
    assert (outcome.errors, outcome.failed_checks) == ({}, [])
