"""The rules as Dagster asset checks: one operation per stage, one result per rule, and one per rule and shard."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import dagster as dg

from laion_coco_assets.checks.results import RuleResult
from laion_coco_assets.checks.rules import all_rules, shard_rules
from laion_coco_assets.orchestration.evaluations import result_over_shards, sql_block
from laion_coco_assets.orchestration.records import shards_of_run
from laion_coco_assets.orchestration.shard_checks import ShardChecks
from laion_coco_assets.resources.removals_resource import RemovalsResource
from laion_coco_assets.resources.store_resource import ShardStoreResource
from laion_coco_assets.stages.pipeline import Pipeline

#: How many shards a check covers if it was started for none: a click must not read a whole data set.
_SHARDS_UNNAMED: Final = 50


def build_checks(pipeline: Pipeline) -> list[dg.AssetChecksDefinition]:
    """The checks of every stage."""
    return [_stage_checks(pipeline, stage.name) for stage in pipeline.stages]


def _stage_checks(pipeline: Pipeline, stage: str) -> dg.AssetChecksDefinition:
    rules = {rule.name: rule for rule in shard_rules(stage, all_rules(pipeline.stages))}

    @dg.multi_asset_check(
        name=f"{stage}_checks",
        specs=[
            dg.AssetCheckSpec(
                rule.name,
                asset=stage,
                description=rule.description,
                blocking=rule.is_blocking,
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
        shards = shards_of_run(context.instance, context.run.tags)
        if not shards:  # "Execute check" in the browser names no shard
            existing = files.shards(stage)
            shards = existing[-_SHARDS_UNNAMED:]
            context.log.info(
                f"no shard was named: checking the last {len(shards)} of {len(existing)} with a file of {stage}"
            )
        checks = ShardChecks(context.op_execution_context, pipeline, files, removals.get)
        results = checks.check(stage, shards, selected)
        shard_by_shard = _held_back_shard_by_shard(context, pipeline, stage, len(shards), results.values())
        for rule in selected:
            yield result_over_shards(rule, results[rule.name], shard_by_shard=shard_by_shard)

    return checks


def _held_back_shard_by_shard(
    context: dg.AssetCheckExecutionContext,
    pipeline: Pipeline,
    stage: str,
    shards: int,
    results: Iterable[Sequence[RuleResult]],
) -> bool:
    """Whether the next stage refuses shards that broke a blocking rule one by one (`orchestration/blocking_checks.py`).

    An error here would stop the run for the good shards, too. That is right only if there are none, or if the run has
    no later stage.
    """
    broke = {result.shard for of_rule in results for result in of_rule if not result.is_ok and result.rule.is_blocking}
    operations = {
        node.name for node in context.op_execution_context.job_def.nodes
    }  # of this run: its job has only the selected stages
    goes_on = any(later.name in operations for later in pipeline.stages if stage in pipeline.before(later.name))
    return goes_on and len(broke) < shards
