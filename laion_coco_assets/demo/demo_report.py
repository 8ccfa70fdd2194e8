"""Measures how good the demo's captions are: each kind of caption against the true scene."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.demo.accuracy import is_accurate
from laion_coco_assets.demo.scenes import Scene, scene_from_json
from laion_coco_assets.sources.sample_id import sample_id
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore


@dataclass(frozen=True)
class Accuracy:
    """Shares of the published samples, 0 to 1, whose caption is right by `demo.accuracy.is_accurate`."""

    random_candidate: float  # expected value: right draws divided by all draws
    clip_l_top1: float
    final: float
    alt_text: float


@dataclass(frozen=True)
class DemoReport:
    """What happened to the corpus' rows, and how good the captions are."""

    rows: int
    published: int
    rejected: dict[str, int]
    accuracy: Accuracy

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def _truth(folder: Path) -> Iterator[dict[str, Any]]:
    rows = (row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist())
    return (row for row in rows if row["scene"])


def true_scenes(truth: Path) -> dict[str, Scene]:
    """The scene of each sample that has one, by sample_id."""
    return {sample_id(row["URL"], row["TEXT"]): scene_from_json(row["scene"]) for row in _truth(truth)}


def true_captions(truth: Path) -> dict[str, str]:
    """A true caption of each sample that has a scene, by sample_id."""
    return {sample_id(row["URL"], row["TEXT"]): row["true_caption"] for row in _truth(truth)}


def build_report(store: ShardStore, shards: Iterable[str], truth: Path) -> DemoReport:
    """Build the report from these shards' published rows and ledgers."""
    scenes = true_scenes(truth)
    names = list(shards)
    ledger = [row for shard in names for row in stage_rows(store, LEDGER, shard, ["status", "reason"])]
    right = {"random_candidate": 0.0, "clip_l_top1": 0.0, "final": 0.0, "alt_text": 0.0}
    published = 0
    for row in (row for shard in names for row in stage_rows(store, StageName.PUBLISHED, shard)):
        scene = scenes[row["sample_id"]]
        draws = zip(row["all_captions"], row["all_multiplicities"], strict=True)
        published += 1
        right["random_candidate"] += sum(n for caption, n in draws if is_accurate(caption, scene)) / sum(
            row["all_multiplicities"]
        )
        right["clip_l_top1"] += is_accurate(row["all_captions"][0], scene)
        right["final"] += is_accurate(row["top_caption"], scene)
        right["alt_text"] += is_accurate(row["TEXT"] or "", scene)
    return DemoReport(
        rows=len(ledger),
        published=published,
        rejected=dict(Counter(row["reason"] for row in ledger if row["reason"]).most_common()),
        accuracy=Accuracy(**{name: round(count / max(1, published), 4) for name, count in right.items()}),
    )
