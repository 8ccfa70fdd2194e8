"""What runs by itself: new source shards become partitions."""

import dagster as dg

from laion_coco_assets.assets.stage import SHARDS
from laion_coco_assets.errors import SourceError
from laion_coco_assets.resources.store import SourceResource

#: Dagster takes this many dynamic partitions in one tick without the tick growing slow.
_SHARDS_PER_TICK = 5000


@dg.sensor(
    name="new_shards",
    description="Registers source shards that are not partitions yet, in order.",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_shards(context: dg.SensorEvaluationContext, source: SourceResource) -> dg.SensorResult | dg.SkipReason:
    """Registers source shards that are not partitions yet, in order; never registers one twice."""
    try:
        found = source.shards()
    except SourceError as error:
        return dg.SkipReason(str(error))
    registered = set(context.instance.get_dynamic_partitions(SHARDS.name or ""))
    new = [key for key in found if key not in registered][:_SHARDS_PER_TICK]
    if not new:
        return dg.SkipReason(f"{source.source}: {len(found)} shards, all registered")
    context.log.info(f"registering {len(new)} of {len(found)} shards: {new[0]} to {new[-1]}")
    return dg.SensorResult(dynamic_partitions_requests=[SHARDS.build_add_request(new)])
