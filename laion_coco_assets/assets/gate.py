"""Which shards of a run may go on to its next stage: blocking checks, shard by shard.

Dagster's own blocking stops a run as a whole. That is right for a run over one shard; in a run over several it would hold
all back for one, so there the checks let the run go on (`checks/asset_checks.py`), and each stage asks here.
"""

from collections.abc import Sequence

import dagster as dg

from laion_coco_assets.checks.rules import Scope, Severity, all_rules
from laion_coco_assets.shards.schemas import Stage


def broken_rules(context: dg.AssetExecutionContext, stage: Stage, shards: Sequence[str]) -> dict[str, list[str]]:
    """Blocking rules of earlier stages that shards broke in this run, by shard."""
    order = list(Stage)
    before = set(order[: order.index(stage)])
    keys = [
        dg.AssetCheckKey(dg.AssetKey(rule.stage.value), rule.name)
        for rule in all_rules()
        if rule.stage in before and rule.severity == Severity.ERROR and rule.scope != Scope.ALL
    ]
    broken: dict[str, list[str]] = {}
    if len(shards) > 1 and keys:
        storage = context.instance.event_log_storage
        for info in storage.get_asset_check_partition_info(keys, partition_keys=list(shards)):
            failed = info.latest_execution_status.value == "FAILED" and info.latest_planned_run_id == context.run.run_id
            if failed and info.partition_key is not None:
                broken.setdefault(info.partition_key, []).append(info.check_key.name)
    return broken
