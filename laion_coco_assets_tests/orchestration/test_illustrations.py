"""Pictures in the UI: what they count is what the files hold, an event stays small, text from the web stays text."""

import base64
import random
import re
import shutil
from collections import Counter
from io import BytesIO
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from laion_coco_assets.assets import STAGES, pipeline_of
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.evaluation.histograms import Histogram
from laion_coco_assets.markdown import Markdown
from laion_coco_assets.orchestration.metadata import shard_metadata
from laion_coco_assets.resources.build_resources import build_resources
from laion_coco_assets.settings import Settings
from laion_coco_assets.stages import histogram_picture as stage_histograms
from laion_coco_assets.stages.example_table import example_table
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.checks.mutations import every, ok, rows, tamper
from laion_coco_assets_tests.conftest import DemoRun
from laion_coco_assets_tests.stage_runs import stage_of

PROFILE = load_profile("demo")
PIPELINE = pipeline_of(PROFILE)
HOSTILE = "](x) | <img src=x onerror=alert(1)> ![](https://elsewhere.example/x.png) `\n| "
IMAGE = re.compile(r"!\[\]\((data:image/(?:jpeg|png);base64,[A-Za-z0-9+/=]+)\)")


@pytest.fixture
def copy(demo: DemoRun, tmp_path: Path) -> ShardStore:
    """Its files may be changed."""
    shutil.copytree(demo.folder, tmp_path / "data")
    return ShardStore(tmp_path / "data")


def count(store: ShardStore, stage: str, shard: str) -> list[Histogram]:
    return stage_histograms.count(store, stage, shard, PIPELINE.by_name[stage].panels(PROFILE))


def histograms(store: ShardStore, stage: str, shard: str) -> Markdown | None:
    return stage_histograms.histograms(store, stage, shard, PIPELINE.by_name[stage].panels(PROFILE))


def examples(store: ShardStore, shard: str, *, profile: Profile = PROFILE, thumbnails: bool = True) -> Markdown:
    return example_table(store, shard, profile, thumbnails=thumbnails)


def pictures(markdown: str) -> list[Image.Image]:
    return [Image.open(BytesIO(base64.b64decode(each.partition(",")[2]))) for each in IMAGE.findall(markdown)]


def test_histograms_count_every_value_once(demo: DemoRun) -> None:
    shard = demo.shards[0]
    published = list(stage_rows(demo.store, StageName.PUBLISHED, shard))
    scores, words = count(demo.store, StageName.PUBLISHED, shard)
    assert words.series["top caption"] == Counter(len(row["top_caption"].split(" ")) for row in published)
    assert words.series["alt text"] == Counter(len(row["TEXT"].split()) for row in published if row["TEXT"] is not None)
    best = [max(row["final_similarities"]) for row in published]
    assert scores.series["top caption"] == Counter(int(round(each * 100, 6) // 1) for each in best)
    every_score, _ = count(demo.store, StageName.CLIP_L_TOP5, shard)
    assert sum(every_score.series["all captions"].values()) == sum(
        len(row["scores"]) for row in stage_rows(demo.store, StageName.CLIP_L_TOP5, shard)
    )


def test_one_picture_a_stage_and_none_of_an_empty_file(demo: DemoRun, copy: ShardStore) -> None:
    shard = demo.shards[0]
    shown = {stage.name: histograms(demo.store, stage.name, shard) for stage in STAGES}
    assert shown.pop(StageName.FETCHED_IMAGES) is None
    for value in shown.values():
        assert value is not None
        assert [each.size for each in pictures(value)] == [(840, 240)]
    tamper(copy, StageName.PUBLISHED, rows(list.clear), shard)
    assert histograms(copy, StageName.PUBLISHED, shard) is None
    assert examples(copy, shard).count("\n") == 1


def test_examples_show_published_samples_with_their_pictures(demo: DemoRun) -> None:
    shown = examples(demo.store, demo.shards[0])
    assert [each.format for each in pictures(shown)] == ["JPEG"] * 6
    assert all(max(each.size) == 96 for each in pictures(shown))
    first = next(stage_rows(demo.store, StageName.PUBLISHED, demo.shards[0]))
    assert f"| {first['top_caption']} | {max(first['final_similarities']):.3f} |" in shown
    head, rule, *_ = shown.splitlines()
    score = "score by rn50x64"
    assert head == f"| image | top_caption | {score} | alt text | {score} | URL |"
    assert rule == "| --- | --- | ---: | --- | ---: | --- |"


def test_examples_name_the_ranker_that_decided_and_the_alt_text_that_is_missing(
    demo: DemoRun, copy: ShardStore
) -> None:
    shard = demo.shards[0]
    one_ranker = {"final_similarities": None, "alt_text_final_similarity": None}
    change = every(lambda _: True, TEXT=" ", alt_text_similarity=None, **one_ranker)
    tamper(copy, StageName.PUBLISHED, rows(change), shard)
    profile = PROFILE.model_copy(update={"final": None})
    head, _, *lines = examples(copy, shard, profile=profile).splitlines()
    assert head.count("| score by clip_l |") == 2
    assert all("| \\(none\\) |  | `" in line for line in lines)
    first = next(stage_rows(copy, StageName.PUBLISHED, shard))
    assert f"| {first['all_similarities'][0]:.3f} |" in lines[0]


def test_without_thumbnails_the_examples_hold_no_picture(demo: DemoRun) -> None:
    shown = examples(demo.store, demo.shards[0], thumbnails=False)
    assert pictures(shown) == []
    whole = examples(demo.store, demo.shards[0])
    assert shown.splitlines()[2:] == [re.sub(r"^\|[^|]*", "", line) for line in whole.splitlines()[2:]]
    settings = Settings.from_environment({"LAION_COCO_THUMBNAILS": "false"})
    assert not build_resources(settings, load_profile("laion-coco"))["examples_shown"].thumbnails


def test_hostile_text_stays_in_its_cell(demo: DemoRun, copy: ShardStore) -> None:
    change = every(lambda _: True, TEXT=HOSTILE, top_caption=HOSTILE, URL=HOSTILE)
    tamper(copy, StageName.PUBLISHED, rows(change), demo.shards[0])
    shown = examples(copy, demo.shards[0])
    ours = re.sub(r"`[^`|\n]*` \|$", "|", IMAGE.sub("", shown), flags=re.MULTILINE)
    assert len(IMAGE.findall(shown)) == 6
    assert re.search(r"(?<!\\)[<>!\[\]()`]", ours) is None
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in ours.splitlines()} == {7}


def test_an_unreadable_picture_leaves_its_cell_empty(demo: DemoRun, copy: ShardStore) -> None:
    tamper(copy, StageName.FETCHED_IMAGES, rows(every(ok, image=b"no picture")), demo.shards[0])
    assert examples(copy, demo.shards[0]).count("\n|  | ") == 6


def test_an_event_is_small_whatever_the_images_and_texts_are(demo: DemoRun, copy: ShardStore) -> None:
    shard = demo.shards[0]
    noise = BytesIO()
    Image.frombytes("RGB", (96, 96), random.Random(0).randbytes(96 * 96 * 3)).save(noise, "PNG")
    tamper(copy, StageName.FETCHED_IMAGES, rows(every(ok, image=noise.getvalue())), shard)
    long = "\U0001f600" * 5000

    def lengthen(found: list[Row]) -> None:
        for row in found:
            row.update(TEXT=long, top_caption=long, URL=long)

    tamper(copy, StageName.PUBLISHED, rows(lengthen), shard)
    metadata = shard_metadata(
        stage_of(copy, StageName.PUBLISHED, shard), copy.need(StageName.PUBLISHED, shard), made=1, seconds=1.0
    )
    assert "examples" in metadata
    event = dg.serialize_value(dg.AssetMaterialization(StageName.PUBLISHED.value, partition=shard, metadata=metadata))
    assert len(event.encode()) < 150_000
