"""The rules as Dagster asset checks: one operation a stage, one result a rule, and one a rule and shard."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import dagster as dg

from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.checks.rules import Severity, shard_rules
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.orchestration.evaluations import result_over_shards, sql_block
from laion_coco_assets.orchestration.shard_checks import ShardChecks
from laion_coco_assets.resources.removal_list import RemovalsResource
from laion_coco_assets.resources.store import ShardStoreResource

#: How many shards a check goes over that was started for none: a click must not read a whole data set.
_SHARDS_UNNAMED: Final = 50

_PARTITION_TAG = "dagster/partition"
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def build_checks(profile: Profile, partitions: dg.DynamicPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks of every stage."""
    return [_stage_checks(profile, partitions, stage) for stage in Stage]


def _stage_checks(
    profile: Profile, partitions: dg.DynamicPartitionsDefinition, stage: Stage
) -> dg.AssetChecksDefinition:
    rules = {rule.name: rule for rule in shard_rules(stage)}

    @dg.multi_asset_check(
        name=f"{stage.value}_checks",
        specs=[
            dg.AssetCheckSpec(
                rule.name,
                asset=stage.value,
                description=rule.description,
                blocking=rule.severity == Severity.ERROR,
                metadata={"sql": sql_block(rule.sql)},
            )
            for rule in rules.values()
        ],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, store: ShardStoreResource, removals: RemovalsResource
    ) -> Iterator[dg.AssetCheckResult]:
        files = store.get()
        selected = [rules[key.name] for key in context.selected_asset_check_keys]
        shards = _shards_of_run(context, partitions)
        if not shards:  # "Execute check" in the browser names no shard
            there = files.shards(stage)
            shards = there[-_SHARDS_UNNAMED:]
            context.log.info(f"no shard was named: the last {len(shards)} of {len(there)} with a file of {stage}")
        results = ShardChecks(context.op_execution_context, profile, files, removals.get).check(stage, shards, selected)
        alone = _held_back_alone(context, stage, len(shards), results.values())
        for rule in selected:
            yield result_over_shards(rule, results[rule.name], alone=alone)

    return checks


def _shards_of_run(context: dg.AssetCheckExecutionContext, partitions: dg.DynamicPartitionsDefinition) -> list[str]:
    """The shards that the run is about; none when it was started for no partition."""
    tags = context.run.tags
    if _PARTITION_TAG in tags:
        return [tags[_PARTITION_TAG]]
    if all(tag in tags for tag in _RANGE_TAGS):
        keys = list(partitions.get_partition_keys(dynamic_partitions_store=context.instance))
        first, last = (keys.index(tags[tag]) for tag in _RANGE_TAGS)
        return keys[first : last + 1]
    return []


def _held_back_alone(
    context: dg.AssetCheckExecutionContext, stage: Stage, shards: int, results: Iterable[Sequence[RuleResult]]
) -> bool:
    """Whether shards that broke a blocking rule are refused one by one by the next stage (`orchestration/blocking_checks.py`).

    An error here would stop the run for the good ones, too: right only when there are none, or nothing comes after.
    """
    broke = {
        each.shard
        for listed in results
        for each in listed
        if each.status == Status.FAILED and each.rule.severity == Severity.ERROR
    }
    operations = {
        node.name for node in context.op_execution_context.job_def.nodes
    }  # the run's own: its job is cut to it
    goes_on = any(each.value in operations for each in list(Stage)[list(Stage).index(stage) + 1 :])
    return goes_on and len(broke) < shards
