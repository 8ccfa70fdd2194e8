"""The sensor that watches the source: new files become partitions, changed and vanished ones are reported."""

from collections.abc import Iterator, Sequence
from typing import Final

import dagster as dg

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import SourceError
from laion_coco_assets.orchestration.records import SHARDS, registered_shards
from laion_coco_assets.resources.store_resource import ShardStoreResource, SourceResource
from laion_coco_assets.sources.changes import ChangedSource, SourceChanges, find_changes
from laion_coco_assets.store.removed_shards import removed_shards
from laion_coco_assets.wording import counted

#: With more new partitions than this in one tick, Dagster grows slow.
_SHARDS_PER_TICK: Final = 5000
_NAMED: Final = 5


@dg.sensor(
    name="new_shards",
    description="Registers source shards that are not partitions yet, in order; reports files that changed or vanished.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_shards(
    context: dg.SensorEvaluationContext, source: SourceResource, store: ShardStoreResource
) -> dg.SensorResult | dg.SkipReason:
    """Registers source shards that are not partitions yet, in order; never registers one twice.

    A file that changed after its images were fetched is named in every tick until it is put back, fetched again or
    removed; the first tick that sees it also leaves an observation at its partition of `fetched_images`.
    """
    files = store.get()
    try:
        sources = source.shards()
        registered = set(registered_shards(context.instance))
        removed = removed_shards(files).intersection(sources)
        new = [shard for shard in sources if shard not in registered and shard not in removed]
        batch = new[:_SHARDS_PER_TICK]
        changes = find_changes(files, sources, registered.union(batch))
    except SourceError as error:
        return dg.SkipReason(str(error))
    lines = [_registration(source.source, len(sources) - len(removed), batch, len(new) - len(batch))]
    lines += _changes(changes)
    if vanished := sorted(registered - sources.keys()):
        lines.append(f"{counted(len(vanished), 'registered shard')} not in the source any more: {_names(vanished)}")
    if removed:
        lines.append(
            f"{counted(len(removed), 'shard')} left out, removed by `laion-coco shards remove`: {_names(sorted(removed))}"
        )
    for line in lines:
        context.log.info(line)
    return dg.SensorResult(
        skip_reason="; ".join(lines),
        dynamic_partitions_requests=[SHARDS.build_add_request(batch)] if batch else [],
        asset_events=[_observation(changed) for changed in changes.news],
    )


def _changes(changes: SourceChanges) -> Iterator[str]:
    if changes.changed:
        yield (
            f"{counted(len(changes.changed), 'source file')} changed after {_its(changes.changed)} images were fetched: "
            f"{_names(changes.changed)}; materialise fetched_images again to use the source as it is now"
        )
    if changes.waiting:
        yield f"{counted(changes.waiting, 'file')} with a new date or size; the next ticks compare the content"


def _registration(source: str, total: int, batch: Sequence[str], left: int) -> str:
    if not batch:
        return f"{source}: {counted(total, 'shard')}, all registered"
    span = batch[0] if len(batch) == 1 else f"{batch[0]} to {batch[-1]}"
    more = f"; {left} more in the next ticks" if left else ""
    return f"{source}: {counted(len(batch), 'new shard')} of {total} registered, {span}{more}"


def _observation(changed: ChangedSource) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key=StageName.FETCHED_IMAGES.value,
        partition=changed.shard,
        description="The source file changed after the images were fetched.",
        metadata={
            "source": changed.path,
            "fetched_from_content": changed.fetched_from,
            "content_now": changed.content,
        },
    )


def _its(items: Sequence[object]) -> str:
    return "its" if len(items) == 1 else "their"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
