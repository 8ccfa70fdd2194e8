"""Which shards of a run may go on to its next stage: blocking checks, shard by shard.

Dagster's own blocking stops a run as a whole, and that run only. In a run over several shards it would hold all back for
one, so there the checks let the run go on (`orchestration/asset_checks.py`); and of the runs before it knows nothing, as where one
run fetches and the next one captions. So each stage asks here.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg

from laion_coco_assets.checks.results import Status
from laion_coco_assets.checks.rules import Rule, Severity, shard_rules
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.errors import StoreError
from laion_coco_assets.orchestration.shard_checks import ShardChecks

_RESULTS: Final = {"SUCCEEDED": True, "FAILED": False}


class Gate:
    """Lets a shard through to a stage when its files of the stages before break no blocking rule.

    The last result of a rule counts, of whatever run, until the rule's stage is materialised again. Where there is none
    since then, the rule is evaluated here: the step of the checks never ran (its process died, somebody left it out), or
    the rule is newer than the file.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, stage: Stage, shards: Sequence[str], checks: ShardChecks
    ) -> None:
        order = list(Stage)
        self._rules = {
            each: [rule for rule in shard_rules(each) if rule.severity == Severity.ERROR]
            for each in order[: order.index(stage)]
        }
        self._context = context
        self._checks = checks
        self._passed = _last_results(context.instance, self._rules, shards)

    def admit(self, shard: str) -> None:
        """Let the shard through.

        Raises:
            StoreError: its files break blocking rules.
        """
        broken = []
        for stage, rules in self._rules.items():
            unknown = [rule for rule in rules if (shard, rule.name) not in self._passed]
            broken += [rule.name for rule in rules if self._passed.get((shard, rule.name)) is False]
            if unknown:
                self._context.log.info(f"shard {shard}: checking {stage}, which {len(unknown)} rules have no result of")
                for name, results in self._checks.check(stage, [shard], unknown).items():
                    broken += [name for each in results if each.status == Status.FAILED]
        if broken:
            raise StoreError(
                f"held back: broke {', '.join(sorted(broken))}; the check's result for this shard names the samples, "
                "Alerts in docs/OPERATIONS.md says what to do"
            )


def _last_results(
    instance: dg.DagsterInstance, rules: Mapping[Stage, Sequence[Rule]], shards: Sequence[str]
) -> dict[tuple[str, str], bool]:
    """Whether a shard passed a rule, by shard and rule: results since the rule's stage was materialised last."""
    keys = [dg.AssetCheckKey(dg.AssetKey(stage.value), rule.name) for stage in rules for rule in rules[stage]]
    if not keys:
        return {}
    passed = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=list(shards)):
        outdated = (info.latest_check_event_storage_id or 0) < (info.latest_materialization_storage_id or 0)
        result = _RESULTS.get(info.latest_execution_status.value)
        if info.partition_key is not None and result is not None and not outdated:
            passed[info.partition_key, info.check_key.name] = result
    return passed
