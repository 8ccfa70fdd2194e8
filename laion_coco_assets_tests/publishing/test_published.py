"""What is published is LAION-COCO as others know it, and other tools read it."""

import json
import re
from pathlib import Path

import datasets
import duckdb
import pyarrow as pa
import pytest

from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.assets.published import Published
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.shared_columns import LAION_COCO_COLUMNS
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.publishing.card import card
from laion_coco_assets_tests.conftest import DemoRun
from laion_coco_assets_tests.contracts import PUBLISHED

#: FACTS.md's table of the published columns.
LAION_COCO = {
    "URL": pa.string(),
    "TEXT": pa.string(),
    "top_caption": pa.string(),
    "all_captions": pa.list_(pa.string()),
    "all_similarities": pa.list_(pa.float64()),
    "WIDTH": pa.int64(),
    "HEIGHT": pa.int64(),
    "similarity": pa.float64(),
    "hash": pa.int64(),
    "pwatermark": pa.float64(),
    "punsafe": pa.float64(),
}


def test_laion_cocos_columns_come_first_with_its_types() -> None:
    first = list(PUBLISHED)[:LAION_COCO_COLUMNS]
    assert {field.name: field.type for field in first} == LAION_COCO


@pytest.fixture
def files(demo: DemoRun) -> list[str]:
    return [str(demo.store.path(StageName.PUBLISHED, shard).path) for shard in demo.shards]


def test_datasets_loads_it(files: list[str], tmp_path: Path) -> None:
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path), split="train")
    assert loaded.column_names == PUBLISHED.names
    assert loaded.num_rows > 20
    row = loaded[0]
    assert row["top_caption"] in row["all_captions"]
    assert loaded.features["all_similarities"].feature.dtype == "float64"


def test_datasets_loads_the_folder_by_its_card(demo: DemoRun, tmp_path: Path) -> None:
    loaded = datasets.load_dataset(str(demo.folder / "published"), cache_dir=str(tmp_path), split="train")
    assert loaded.column_names == PUBLISHED.names


def test_duckdb_reads_it(files: list[str]) -> None:
    query = "SELECT count(*), min(len(all_captions)), bool_and(list_contains(all_captions, top_caption)) FROM read_parquet(?)"
    rows, fewest, contained = duckdb.execute(query, [files]).fetchall()[0]
    assert rows > 20
    assert fewest >= 1
    assert contained


def test_the_card_describes_every_column_and_setting(demo: DemoRun) -> None:
    text = (demo.folder / "published" / "README.md").read_text()
    assert all(f"| {name} |" in text for name in PUBLISHED.names)
    settings = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert set(settings) == {stage.value for stage in StageName}
    assert settings["blip_candidates"]["top_p"] == 0.9


def card_of(profile: str) -> str:
    pipeline = pipeline_of(load_profile(profile))
    return card(pipeline.profile, Published.columns, pipeline.settings, pipeline.fingerprints[Published.name])


def test_the_card_calls_the_rankers_by_their_names() -> None:
    text = card_of("laion-coco")
    assert "a first ranker, ViT-L-14, scores them all and keeps 5, and a final one, RN50x64, picks the winner" in text
    assert "| ViT-L-14's similarity of image and caption, same order |" in text
    assert "RN50x64's similarity of image and alt text" in text


def test_the_card_of_one_ranker_has_no_word_of_another() -> None:
    text = card_of("laion-idle-cap")
    assert "ViT-L-14-336 scores them all, and the best one wins" in text
    prose, settings = text.split("```json")
    assert not re.search(r"\bfirst ranker|final ranker|second|RN50x64|ViT-L-14(?!-336)|ViT-L/14", prose), prose
    assert "rn50x64_final" not in settings
