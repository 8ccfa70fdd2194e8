"""How a schedule asks for shards: runs over stretches of the registered order, which is what one run can take."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from laion_coco_assets.contract.schemas import Stage

_RANGE_START: Final = "dagster/asset_partition_range_start"
_RANGE_END: Final = "dagster/asset_partition_range_end"
_REQUESTED_BY: Final = "laion_coco/requested_by"


def spans(shards: Sequence[str], chosen: Collection[str], longest: int) -> Iterator[list[str]]:
    """The chosen shards as stretches of the registered ones, in order."""
    span: list[str] = []
    for shard in shards:
        if span and (shard not in chosen or len(span) == longest):
            yield span
            span = []
        if shard in chosen:
            span.append(shard)
    if span:
        yield span


def run_request(
    schedule: str, stages: Sequence[Stage], span: Sequence[str], config: Mapping[Stage, Mapping[str, Any]] | None = None
) -> dg.RunRequest:
    """A run of `stages` over a stretch of shards; `config` is what the stages' assets take as configuration."""
    return dg.RunRequest(
        run_key=f"{stages[0]} {span[0]}",
        asset_selection=[dg.AssetKey(stage.value) for stage in stages],
        run_config={"ops": {stage.value: {"config": dict(given)} for stage, given in config.items()}} if config else {},
        tags={_RANGE_START: span[0], _RANGE_END: span[-1], _REQUESTED_BY: schedule},
    )


def named(shards: Sequence[str]) -> str:
    """The first few by name, for a tick's log."""
    more = f" and {len(shards) - 5} more" if len(shards) > 5 else ""
    return ", ".join(shards[:5]) + more if shards else "none"
