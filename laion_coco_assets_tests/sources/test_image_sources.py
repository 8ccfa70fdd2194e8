"""Images that a source brings along become the rows that fetching would have made of them, and no network is asked."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.cli.runner import run_shards
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.fetching.fetched_rows import fetch_shard
from laion_coco_assets.fetching.fetcher import Fetcher
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import FETCHED_IMAGES
from laion_coco_assets_tests.images import pictures
from laion_coco_assets_tests.sources.example_sources import (
    JPEG,
    PNG,
    A,
    B,
    C,
    D,
    folder_source,
    parquet_source,
    record,
    rows_of,
    structs_source,
    tar_source,
    write_tar,
)


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


@pytest.mark.parametrize("make", [tar_source, parquet_source, folder_source])
def test_the_stage_runs_on_it_and_its_checks_pass(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = make(tmp_path)
    settings = Settings(profile="demo", data_dir=str(tmp_path / "out"), source=str(source))
    (key,) = list_sources(str(source))
    stages = (StageName.FETCHED_IMAGES,)
    (outcome,) = run_shards(settings, [key], NoProgress(), stages=stages)
    assert (outcome.errors, outcome.failed_checks) == ({}, [])
    assert sum(row["status"] == "ok" for row in stage_rows(ShardStore(tmp_path / "out"), stages[0], key)) == 2
    (again,) = run_shards(settings, [key], NoProgress(), stages=stages)
    assert again.metadata[stages[0]]["skipped"]
    retry = {stages[0]: {"retry": ["not_an_image"]}}
    (refused,) = run_shards(settings, [key], NoProgress(), stages=stages, config=retry)
    assert "brings its images along" in refused.errors[stages[0]]


def test_images_without_urls_break_no_rule(tmp_path: Path) -> None:
    """They are no duplicates of each other, though those with the same alt text have the same sample_id."""
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
    published = list(stage_rows(ShardStore(tmp_path / "out"), StageName.PUBLISHED, "s"))
    assert [row["WIDTH"] for row in published] == [1, 2, 3, 4]
    assert len({row["sample_id"] for row in published}) == 2


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
        assert [other for other in rows if removals.entry(other["sample_id"], other["URL"])] == [row]
