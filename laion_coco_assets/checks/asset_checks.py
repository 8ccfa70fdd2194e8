"""The rules as Dagster asset checks: one operation a stage, one result a rule, and one a rule and shard."""

from collections.abc import Iterator, Sequence

import dagster as dg

from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.checks.rules import Rule, Severity, all_rules
from laion_coco_assets.resources.removals import RemovalsResource
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.shards.fingerprint import fingerprints
from laion_coco_assets.shards.profile import Profile
from laion_coco_assets.shards.schemas import Stage

_PARTITION_TAG = "dagster/partition"
_RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def build_checks(profile: Profile, partitions: dg.DynamicPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks of every stage."""
    return [_stage_checks(profile, partitions, stage) for stage in Stage]


def _stage_checks(
    profile: Profile, partitions: dg.DynamicPartitionsDefinition, stage: Stage
) -> dg.AssetChecksDefinition:
    rules = {rule.name: rule for rule in all_rules() if rule.stage == stage and not rule.all_shards}

    @dg.multi_asset_check(
        name=f"{stage.value}_checks",
        specs=[
            dg.AssetCheckSpec(
                rule.name,
                asset=stage.value,
                description=rule.description,
                blocking=rule.severity == Severity.ERROR,
                metadata={"sql": dg.MetadataValue.md(f"```sql\n{rule.sql}\n```")},
            )
            for rule in rules.values()
        ],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, store: ShardStoreResource, removals: RemovalsResource
    ) -> Iterator[dg.AssetCheckResult]:
        from laion_coco_assets.checks.run import check_shard

        files = store.get()
        selected = [rules[key.name] for key in context.selected_asset_check_keys]
        shards = _shards_of_run(context, partitions) or files.shards(stage)
        expected = fingerprints(profile)
        removal_list = removals.get() if stage == Stage.PUBLISHED else None
        results: dict[str, list[RuleResult]] = {rule.name: [] for rule in selected}
        for shard in shards:
            for result in check_shard(files, shard, selected, expected, removal_list):
                results[result.rule.name].append(result)
                # It takes evaluations, says its code; its annotation forgot them.
                context.op_execution_context.log_event(_evaluation(stage, result))  # type: ignore[arg-type]
        for rule in selected:
            yield _over_shards(rule, results[rule.name])

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
        metadata=_metadata([result]),
        partition=result.shard,
    )


def _over_shards(rule: Rule, results: Sequence[RuleResult]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=rule.name,
        asset_key=rule.stage.value,
        passed=all(each.status != Status.FAILED for each in results),
        severity=_severity(rule),
        metadata=_metadata(results),
    )


def _metadata(results: Sequence[RuleResult]) -> dict[str, dg.MetadataValue]:
    failed = [each for each in results if each.status == Status.FAILED]
    skipped = [each for each in results if each.status == Status.SKIPPED]
    metadata: dict[str, dg.MetadataValue] = {
        "shards": dg.MetadataValue.int(len(results)),
        "expected": dg.MetadataValue.int(0),
        "offenders": dg.MetadataValue.int(sum(each.count for each in failed)),
    }
    if failed:
        metadata["failed_shards"] = dg.MetadataValue.json([each.shard for each in failed])
        shown = [
            {"shard": each.shard, "sample_id": offender.sample_id, "problem": offender.problem}
            for each in failed
            for offender in each.offenders
        ]
        metadata["first_offenders"] = dg.MetadataValue.json(shown[:10])
    if skipped:
        metadata["skipped"] = dg.MetadataValue.json({each.shard: each.why for each in skipped})
    return metadata
