"""How a precision's ranking is compared with float32's."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from laion_coco_assets.bench.agreement import compare, spearman
from laion_coco_assets.bench.benchmark import BenchSettings, run_bench
from laion_coco_assets.bench.engine import Engine, Ranking
from laion_coco_assets.bench.measured_models import Size, profile_models
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.images.decode import decode_rgb
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets_tests.bench.conftest import CPU
from laion_coco_assets_tests.conftest import DemoRun


def ranking(scores: list[float], top: tuple[int, ...], final: list[float]) -> Ranking:
    return Ranking(tuple("abcdef"[: len(scores)]), np.array(scores), top, np.array(final))


def test_spearman() -> None:
    a = np.array([0.1, 0.5, 0.3, 0.9])
    assert spearman(a, a * 7 + 1) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])) == pytest.approx(0.9487, abs=1e-4)
    assert spearman(np.array([1.0, 1.0]), a[:2]) == 1, "all equal: no order to get wrong"


def test_captions_without_rivals_have_no_ranking_to_compare() -> None:
    alone = [ranking([0.3], (0,), [0.5])]
    assert compare(alone, alone) is None
    assert compare([], []) is None


def test_compare_counts_winners_and_tops() -> None:
    exact = [ranking([0.3, 0.2, 0.1], (0, 1), [0.5, 0.4]), ranking([0.3, 0.2, 0.1], (0, 1), [0.5, 0.4])]
    half = [ranking([0.3, 0.2, 0.1], (0, 1), [0.5, 0.4]), ranking([0.3, 0.1, 0.2], (0, 2), [0.4, 0.5])]
    found = compare(half, exact)
    assert found is not None
    assert (found.samples, found.same_winner, found.same_top) == (2, 0.5, 0.5)
    assert found.clip_l_correlation == pytest.approx(0.75)
    assert found.largest_difference == pytest.approx(0.1)
    assert half[1].winner == "c"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_ranks_trained_models_captions_as_float32_does(demo: DemoRun, dtype: torch.dtype) -> None:
    """Scores as close as trained models leave them. docs/PERFORMANCE.md has the figures that the bounds are set below."""
    shard = demo.shards[0]
    captioned = {row["row"]: tuple(row["captions"]) for row in stage_rows(demo.store, StageName.BLIP_CANDIDATES, shard)}
    fetched = [row for row in stage_rows(demo.store, StageName.FETCHED_IMAGES, shard) if captioned.get(row["row"])]
    images = [decode_rgb(row["image"]) for row in fetched]
    captions = [captioned[row["row"]] for row in fetched]
    half, exact = (
        Engine(profile_models(load_profile("demo"), CPU, each), None).rank(images, captions)
        for each in (dtype, torch.float32)
    )
    found = compare(half, exact)
    assert found is not None
    assert found.samples > 25
    assert found.same_winner >= 0.85
    assert found.same_top >= 0.75
    assert found.clip_l_correlation > 0.97
    assert (found.rn50x64_correlation or 0) > 0.95
    assert 0 < found.largest_difference < 0.01, "near, and not the same: it was another precision"
    # The float32 side is what the stages themselves found.
    finals = {row["row"]: row["caption"] for row in stage_rows(demo.store, StageName.RN50X64_FINAL, shard)}
    assert [each.winner for each in exact] == [finals[row["row"]] for row in fetched]


def test_the_command_counts_the_images_whose_captions_follow_their_neighbours() -> None:
    out = Console(record=True, width=160, file=io.StringIO())
    settings = BenchSettings(
        profile="demo", count=6, rounds=1, device="cpu", dtype="bfloat16", batch_size=3, pipelines=("engine",)
    )
    report = run_bench(settings, out, Console(quiet=True))
    assert report.agreement is not None
    assert (report.agreement.same_captions_alone or 0) >= 0.5, "a draw now and then, no more"
    said = f"the same captions for {report.agreement.same_captions_alone:.1%} of images"
    assert said in out.export_text()


def test_the_command_compares_a_precision_with_float32_and_sweeps_batch_sizes(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    out = Console(record=True, width=160, file=io.StringIO())
    settings = BenchSettings(
        size=Size.SMALL,
        count=2,
        plain_count=1,
        rounds=1,
        device="cpu",
        dtype="bfloat16",
        baseline_dtype="float32",
        pipelines=("engine", "plain"),
        sweep=(1,),
        json=file,
    )
    report = run_bench(settings, out, Console(quiet=True))
    assert report.agreement is not None
    assert 0 <= report.agreement.same_winner <= 1
    assert report.agreement.same_captions_alone is None, "the script's, whatever is drawn"
    assert report.agreement.clip_l_correlation > 0.8, "bfloat16 ranks about as float32 does"
    found = json.loads(file.read_text())
    assert (found["dtype"], found["baseline_dtype"]) == ("bfloat16", "float32")
    assert found["agreement"] == asdict(report.agreement)
    text = out.export_text()
    assert "bfloat16 against float32" in text
    assert "engine, by batch size" in text
    assert "plain, by batch size" in text
