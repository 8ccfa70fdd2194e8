"""What the UI shows of a shard is there, readable, and safe to render."""

from typing import Any

import pytest

from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.ranker_labels import with_ranker_labels
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.markdown import Url, cell
from laion_coco_assets.orchestration.metadata import settings_table, shard_metadata
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets_tests.conftest import DemoRun
from laion_coco_assets_tests.contracts import COLUMNS, SCHEMAS
from laion_coco_assets_tests.stage_runs import stage_of


def of(demo: DemoRun, stage: StageName) -> dict[str, Any]:
    info = demo.store.need(stage, demo.shards[0])
    return shard_metadata(stage_of(demo.store, stage, demo.shards[0]), info, made=info.rows, seconds=2.0)


@pytest.mark.parametrize("stage", StageName)
def test_every_stage_shows_rows_speed_place_and_columns(demo: DemoRun, stage: StageName) -> None:
    metadata = of(demo, stage)
    assert metadata["dagster/row_count"] > 0
    assert metadata["samples_per_second"] == metadata["dagster/row_count"] / 2
    assert metadata["dagster/uri"].endswith(f"{stage}/demo-00000.parquet")
    columns = metadata["dagster/column_schema"].columns
    assert [column.name for column in columns] == SCHEMAS[stage].names
    assert [column.description for column in columns] == [
        column.description for column in with_ranker_labels(COLUMNS[stage], load_profile("demo"))
    ]
    numbers = [value for value in metadata.values() if isinstance(value, float)]
    assert all(len(f"{number}".partition(".")[2]) <= 4 for number in numbers), "nobody reads ten digits"


def test_reasons_and_examples_are_tables(demo: DemoRun) -> None:
    metadata = of(demo, StageName.PUBLISHED)
    assert metadata["source_rows"] == metadata["dagster/row_count"] + metadata["rejected"]
    assert metadata["rejected_by_reason"].md_str.startswith("| reason | rows | of all |\n| --- | ---: | ---: |\n")
    examples = demo.outcomes[0].metadata[StageName.PUBLISHED]["examples"]
    assert examples.count("\n") == 1 + 6


def test_numbers_to_plot_over_shards(demo: DemoRun) -> None:
    fetched, final, published = (
        of(demo, each) for each in (StageName.FETCHED_IMAGES, StageName.RN50X64_FINAL, StageName.PUBLISHED)
    )
    assert fetched["fetch_success_share"] == round(fetched["ok"] / fetched["dagster/row_count"], 4)
    assert 0 < fetched["duplicate_url_share"] < 1 - fetched["fetch_success_share"]
    assert final["score_uplift"] == published["score_uplift"] > 0
    rows = list(stage_rows(demo.store, StageName.PUBLISHED, demo.shards[0], ["top_caption"]))
    assert published["duplicate_caption_share"] == round(1 - len({row["top_caption"] for row in rows}) / len(rows), 4)


def test_alternatives_are_the_captions_beside_the_winner(demo: DemoRun) -> None:
    rows = list(stage_rows(demo.store, StageName.PUBLISHED, demo.shards[0], ["top_caption", "all_captions"]))
    others = [sum(caption != row["top_caption"] for caption in row["all_captions"]) for row in rows]
    assert of(demo, StageName.PUBLISHED)["alternatives_mean"] == round(sum(others) / len(rows), 4)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.021_47, 0.0215), (1.005, 1.0), (204.27, 204.0), (20_427.0, 20_400.0)]
)
def test_seconds_have_three_digits_however_short_or_long_a_shard_takes(
    demo: DemoRun, seconds: float, shown: float
) -> None:
    info = demo.store.need(StageName.PUBLISHED, demo.shards[0])
    metadata = shard_metadata(
        stage_of(demo.store, StageName.PUBLISHED, demo.shards[0]), info, made=1000, seconds=seconds
    )
    assert metadata["seconds"] == shown
    assert metadata["samples_per_second"] == pytest.approx(1000 / seconds, rel=0.005)


def test_settings_are_a_table_without_long_fractions(demo: DemoRun) -> None:
    said = of(demo, StageName.BLIP_CANDIDATES)["settings"].md_str
    assert "| model.name | laion-coco-demo/blip |" in said
    assert "| top\\_p | 0.9 |" in said
    assert "| max\\_lengths | candidates 8, tokens 20; candidates 16, tokens 30; candidates 16, tokens 45 |" in said
    assert settings_table({"robots": False, "path": None}).md_str.endswith("| path | not set |\n| robots | false |")
    assert settings_table({"top_p": 0.2427084604681384}).md_str.endswith("| top\\_p | 0.2427 |")


def test_text_from_the_web_can_not_leave_its_cell() -> None:
    assert cell("http://a.com www.a.com me@a.com") == "http:\u2060//a.com www\u2060.a.com me@\u2060a.com", "no link"
    assert cell("a|b\n<script>[x](javascript:1)`") == "a\\|b \\<script\\>\\[x\\]\\(javascript:1\\)\\`"
    assert cell("&lt;b&gt;") == "\\&lt;b\\&gt;"
    assert cell("x" * 199 + "|y") == "x" * 199 + "\\|", "cut before it is escaped, never within an escape"
    assert cell(None) == ""
    assert cell(Url("http://a.com/x_1.jpg?a=b&c")) == "`a.com/x_1.jpg?a=b&c`"
    assert cell(Url("http://a.com/`|<b>\\ \n\ud800")) == "`a.com/%60%7C%3Cb%3E%5C%20%0A?`"
    path = "media/catalog/product/p/0017885_4.jpg"
    assert cell(Url(f"HTTPS://shop.example.com/{path}")) == "`shop.example.com/…t/p/0017885_4.jpg`"
    assert cell(Url(f"http://{'very' * 9}.example.com/{path}")) == "`veryveryveryveryveryvery…t/p/0017885_4.jpg`"
    assert cell(Url("")) == ""
