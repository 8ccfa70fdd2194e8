"""Which shards of a run may go on to its next stage: blocking checks, shard by shard.

Dagster's own blocking stops a run as a whole, and that run only. In a run over several shards it would hold all back for
one, so there the checks let the run go on (`checks/asset_checks.py`); and of the runs before it knows nothing, as where one
run fetches and the next one captions. So each stage asks here.
"""

from collections.abc import Sequence

import dagster as dg

from laion_coco_assets.checks.rules import Scope, Severity, all_rules
from laion_coco_assets.shards.schemas import Stage


def broken_rules(context: dg.AssetExecutionContext, stage: Stage, shards: Sequence[str]) -> dict[str, list[str]]:
    """Blocking rules of earlier stages that shards' files break by their last results, in whatever run, by shard.

    A result counts until the stage is materialised again: that file's own checks tell of it.
    """
    order = list(Stage)
    before = set(order[: order.index(stage)])
    keys = [
        dg.AssetCheckKey(dg.AssetKey(rule.stage.value), rule.name)
        for rule in all_rules()
        if rule.stage in before and rule.severity == Severity.ERROR and rule.scope != Scope.ALL
    ]
    broken: dict[str, list[str]] = {}
    if not keys:
        return broken
    for info in context.instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=list(shards)):
        outdated = (info.latest_check_event_storage_id or 0) < (info.latest_materialization_storage_id or 0)
        if info.latest_execution_status.value == "FAILED" and not outdated and info.partition_key is not None:
            broken.setdefault(info.partition_key, []).append(info.check_key.name)
    return broken
