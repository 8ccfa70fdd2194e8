"""Running shards under progress bars, with one line for each stage that failed: what `run`, `fetch` and `demo` share."""

from collections.abc import Sequence
from typing import Any

from laion_coco_assets.cli.bars import Bars
from laion_coco_assets.cli.console import err, report_error, report_failed
from laion_coco_assets.cli.runner import ShardOutcome, run_shards
from laion_coco_assets.settings import Settings


def run_under_bars(settings: Settings, shards: Sequence[str], **how: Any) -> list[ShardOutcome]:
    """What became of each shard; `how` is passed to `run_shards`."""
    outcomes = []
    with Bars(err, len(shards)) as bars:
        for outcome in run_shards(settings, shards, bars, **how):
            outcomes.append(outcome)
            bars.shard_done()
            for stage, message in outcome.errors.items():
                report_error(f"{outcome.shard}, {stage}", message)
    return outcomes


def exit_code(outcomes: Sequence[ShardOutcome]) -> int:
    """1 when a shard failed, which is named, else 0."""
    return report_failed([outcome.shard for outcome in outcomes if not outcome.ok], len(outcomes))
