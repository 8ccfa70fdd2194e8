"""How a schedule requests shards: runs over stretches of the registered order, since one run takes one stretch."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from laion_coco_assets.orchestration.records import REQUESTED_BY, range_tags


def stretches(shards: Sequence[str], chosen: Collection[str], longest: int) -> Iterator[list[str]]:
    """The chosen ones of the registered shards, in order: neighbours together, up to `longest` of them."""
    stretch: list[str] = []
    for shard in shards:
        if stretch and (shard not in chosen or len(stretch) == longest):
            yield stretch
            stretch = []
        if shard in chosen:
            stretch.append(shard)
    if stretch:
        yield stretch


def run_request(
    schedule: str,
    stages: Sequence[str],
    stretch: Sequence[str],
    config: Mapping[str, Mapping[str, Any]] | None = None,
) -> dg.RunRequest:
    """A run of `stages` over a stretch of shards; `config` is what the stages' assets take as configuration."""
    return dg.RunRequest(
        run_key=f"{stages[0]} {stretch[0]}",
        asset_selection=[dg.AssetKey(stage) for stage in stages],
        run_config={"ops": {stage: {"config": dict(given)} for stage, given in config.items()}} if config else {},
        tags={**range_tags(stretch[0], stretch[-1]), REQUESTED_BY: schedule},
    )


def first_few(shards: Sequence[str]) -> str:
    """The names of the first five and the number of the others, for a tick's log."""
    more = f" and {len(shards) - 5} more" if len(shards) > 5 else ""
    return ", ".join(shards[:5]) + more if shards else "none"
