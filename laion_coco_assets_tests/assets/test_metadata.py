"""What the UI shows of a shard is there, readable, and safe to render."""

from typing import Any

import pytest

from laion_coco_assets.assets.metadata import _cell, shard_metadata
from laion_coco_assets.shards.schemas import SCHEMAS, Stage
from laion_coco_assets_tests.conftest import DemoRun


def of(demo: DemoRun, stage: Stage) -> dict[str, Any]:
    info = demo.store.need(stage, demo.shards[0])
    return shard_metadata(demo.store, info, made=info.rows, seconds=2.0)


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_shows_rows_speed_place_and_columns(demo: DemoRun, stage: Stage) -> None:
    metadata = of(demo, stage)
    assert metadata["dagster/row_count"] > 0
    assert metadata["samples_per_second"] == metadata["dagster/row_count"] / 2
    assert metadata["dagster/uri"].endswith(f"{stage}/demo-00000.parquet")
    assert [column.name for column in metadata["dagster/column_schema"].columns] == SCHEMAS[stage].names
    numbers = [value for value in metadata.values() if isinstance(value, float)]
    assert all(len(f"{number}".partition(".")[2]) <= 4 for number in numbers), "nobody reads ten digits"


def test_reasons_and_examples_are_tables(demo: DemoRun) -> None:
    metadata = of(demo, Stage.PUBLISHED)
    assert metadata["source_rows"] == metadata["dagster/row_count"] + metadata["rejected"]
    assert metadata["rejected_by_reason"].md_str.startswith("| reason | rows |\n| --- | --- |\n")
    assert metadata["examples"].md_str.count("\n") == 6


def test_text_from_the_web_can_not_leave_its_cell() -> None:
    assert _cell("a|b\n<script>[x](javascript:1)`") == "a\\|b \\<script\\>\\[x\\]\\(javascript:1\\)\\`"
    assert _cell(None) == ""
