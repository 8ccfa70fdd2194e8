"""The rules as Dagster asset checks: one operation a stage, one result a rule, and one a rule and shard."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import dagster as dg

from laion_coco_assets.checks.results import OFFENDERS_SHOWN, RuleResult, Status
from laion_coco_assets.checks.rules import Rule, Scope, Severity, all_rules
from laion_coco_assets.markdown import table
from laion_coco_assets.resources.removals import RemovalsResource
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.shards.fingerprint import fingerprints
from laion_coco_assets.shards.profile import Profile
from laion_coco_assets.shards.schemas import Stage
from laion_coco_assets.shards.trial import MAX_SAMPLES_TAG, profile_of_file, profile_of_run

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
    rules = {rule.name: rule for rule in all_rules() if rule.stage == stage and rule.scope != Scope.ALL}

    @dg.multi_asset_check(
        name=f"{stage.value}_checks",
        specs=[
            dg.AssetCheckSpec(
                rule.name,
                asset=stage.value,
                description=rule.description,
                blocking=rule.severity == Severity.ERROR,
                metadata={"sql": _sql(rule.sql)},
            )
            for rule in rules.values()
        ],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, store: ShardStoreResource, removals: RemovalsResource
    ) -> Iterator[dg.AssetCheckResult]:
        from laion_coco_assets.checks.drift import Drift
        from laion_coco_assets.checks.run import check_shard

        files = store.get()
        selected = [rules[key.name] for key in context.selected_asset_check_keys]
        shards = _shards_of_run(context, partitions)
        if not shards:  # "Execute check" in the browser names no shard
            there = files.shards(stage)
            shards = there[-_SHARDS_UNNAMED:]
            context.log.info(f"no shard was named: the last {len(shards)} of {len(there)} with a file of {stage}")
        of_run = profile_of_run(profile, context.run.tags)
        is_trial = MAX_SAMPLES_TAG in context.run.tags
        removal_list = removals.get() if stage == Stage.PUBLISHED else None
        drift = Drift(files)
        results: dict[str, list[RuleResult]] = {rule.name: [] for rule in selected}
        for shard in shards:
            # "Execute check" has no tag either, and a trial's file is no worse for it.
            expected = fingerprints(of_run if is_trial else profile_of_file(files, stage, shard, of_run))
            of_shard = check_shard(files, shard, selected, expected, removal_list)
            for result in (*of_shard, *drift.check_shard(shard, selected)):
                results[result.rule.name].append(result)
                # It takes evaluations, says its code; its annotation forgot them.
                context.op_execution_context.log_event(_evaluation(stage, result))  # type: ignore[arg-type]
        alone = _held_back_alone(context, stage, len(shards), results.values())
        for rule in selected:
            yield _over_shards(rule, results[rule.name], alone=alone)

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


def _severity(rule: Rule) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if rule.severity == Severity.ERROR else dg.AssetCheckSeverity.WARN


def _evaluation(stage: Stage, result: RuleResult) -> dg.AssetCheckEvaluation:
    """A shard's own result. Dagster 1.13 files a check's result under the run; only one that is logged has a partition.

    Not a runless one: the instance's database takes one of those for a check and partition, and refuses the second.
    """
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(stage.value),
        check_name=result.rule.name,
        passed=result.status != Status.FAILED,
        severity=_severity(result.rule),
        # There are as many of these as shards times rules: the check itself shows the SQL of those that passed.
        metadata=_metadata([result], sql=result.rule.sql if result.status == Status.FAILED else ""),
        partition=result.shard,
    )


def _held_back_alone(
    context: dg.AssetCheckExecutionContext, stage: Stage, shards: int, results: Iterable[Sequence[RuleResult]]
) -> bool:
    """Whether shards that broke a blocking rule are refused one by one by the next stage (`assets/gate.py`).

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


def _over_shards(rule: Rule, results: Sequence[RuleResult], *, alone: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=rule.name,
        asset_key=rule.stage.value,
        passed=all(each.status != Status.FAILED for each in results),
        severity=dg.AssetCheckSeverity.WARN if alone else _severity(rule),
        metadata=_metadata(results, sql=rule.sql),
    )


def _metadata(results: Sequence[RuleResult], *, sql: str = "") -> dict[str, dg.MetadataValue]:
    failed = [each for each in results if each.status == Status.FAILED]
    skipped = [each for each in results if each.status == Status.SKIPPED]
    count = sum(each.count for each in failed)
    expected, actual = "0 offenders", f"{count} offender{'' if count == 1 else 's'}"
    if len(results) > 1:
        actual += f" in {len(failed)} of {len(results)} shards"
    elif results and results[0].actual:
        expected, actual = results[0].expected, results[0].actual
    metadata: dict[str, dg.MetadataValue] = {
        "expected": dg.MetadataValue.text(expected),
        "actual": dg.MetadataValue.text(actual),
    }
    if failed:
        # A number besides, which Dagster plots; of a check that passes it would plot a line of zeros.
        metadata["offenders"] = dg.MetadataValue.int(count)
        metadata["failed_shards"] = dg.MetadataValue.json([each.shard for each in failed])
        metadata["first_offenders"] = _first_offenders(failed)
    if skipped:
        metadata["skipped"] = dg.MetadataValue.json({each.shard: each.why for each in skipped})
    if sql:
        metadata["sql"] = _sql(sql)
    return metadata


def _sql(sql: str) -> dg.MetadataValue:
    return dg.MetadataValue.md(f"```sql\n{sql}\n```")


def _first_offenders(failed: Sequence[RuleResult]) -> dg.MetadataValue:
    """The first offenders of all shards: which sample, what the rule expects of it, what it is."""
    offenders = [
        (each.shard, offender.sample_id or "(the file)", offender.expected, offender.actual)
        for each in failed
        for offender in each.offenders
    ]
    return table(["shard", "sample_id", "expected", "actual"], offenders[:OFFENDERS_SHOWN])
