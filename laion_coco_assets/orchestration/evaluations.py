"""A rule's results as Dagster shows them: expected and actual, offenders, the SQL."""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from laion_coco_assets.checks.results import OFFENDERS_SHOWN, RuleResult, Status
from laion_coco_assets.checks.rules import Rule
from laion_coco_assets.markdown import table
from laion_coco_assets.wording import counted


def _severity(rule: Rule) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if rule.is_blocking else dg.AssetCheckSeverity.WARN


def shard_evaluation(result: RuleResult) -> dg.AssetCheckEvaluation:
    """A shard's own result. In Dagster 1.13 only a result that is logged has a partition, not one that is returned.

    It is not a runless event: the instance's database accepts one of those per check and partition, and refuses a
    second.
    """
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(result.rule.stage),
        check_name=result.rule.name,
        passed=result.is_ok,
        severity=_severity(result.rule),
        # There is one of these per shard and rule, so those that passed leave the SQL to the check itself.
        metadata=_metadata([result], sql="" if result.is_ok else result.rule.sql),
        description=f"{result.shard}: {_in_words([result])}",
        partition=result.shard,
    )


def evaluation_over_shards(rule: Rule, results: Sequence[RuleResult]) -> dg.AssetCheckEvaluation:
    """The run's own result, as it is logged."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(rule.stage),
        check_name=rule.name,
        passed=all(result.is_ok for result in results),
        severity=_severity(rule),
        metadata=_metadata(results, sql=rule.sql),
        description=_in_words(results),
    )


def result_over_shards(rule: Rule, results: Sequence[RuleResult], *, shard_by_shard: bool) -> dg.AssetCheckResult:
    """The same, as a step of checks returns it. `shard_by_shard`: bad shards are held back one by one, so the run goes on."""
    evaluation = evaluation_over_shards(rule, results)
    return dg.AssetCheckResult(
        check_name=rule.name,
        asset_key=evaluation.asset_key,
        passed=evaluation.passed,
        severity=dg.AssetCheckSeverity.WARN if shard_by_shard else evaluation.severity,
        metadata=evaluation.metadata,
        description=evaluation.description,
    )


def _metadata(results: Sequence[RuleResult], *, sql: str = "") -> dict[str, dg.MetadataValue]:
    failed = [result for result in results if not result.is_ok]
    stale = [result for result in failed if result.status == Status.STALE]
    skipped = [result for result in results if result.status == Status.SKIPPED]
    count = sum(result.count for result in failed)
    expected = "0 offenders"
    if len(results) == 1 and results[0].actual:
        expected = results[0].expected
    metadata: dict[str, dg.MetadataValue] = {
        "expected": dg.MetadataValue.text(expected),
        "actual": dg.MetadataValue.text(_in_words(results)),
    }
    if failed:
        # Dagster plots this number. For a check that passes it would plot a line of zeros.
        metadata["offenders"] = dg.MetadataValue.int(count)
        metadata["failed_shards"] = dg.MetadataValue.json([result.shard for result in failed])
        metadata["first_offenders"] = _first_offenders(failed)
    if stale:
        metadata["stale"] = dg.MetadataValue.json({result.shard: result.why for result in stale})
    if skipped:
        metadata["skipped"] = dg.MetadataValue.json({result.shard: result.why for result in skipped})
    if sql:
        metadata["sql"] = sql_block(sql)
    return metadata


def _in_words(results: Sequence[RuleResult]) -> str:
    """The outcome in words, for one shard or several."""
    if len(results) == 1 and results[0].status in (Status.SKIPPED, Status.STALE):
        return f"{results[0].status}: {results[0].why}"
    if len(results) == 1 and results[0].actual:
        return results[0].actual
    offenders = counted(sum(result.count for result in results), "offender")
    if len(results) == 1:
        return offenders
    numbers = Counter(result.status for result in results)
    bad = numbers[Status.FAILED] + numbers[Status.STALE]
    text = (
        f"{offenders} in {bad} of {len(results)} shards"
        if bad
        else f"{counted(numbers[Status.PASSED], 'shard')} passed"
    )
    others = (Status.STALE, Status.SKIPPED)
    return ", ".join([text, *(f"{numbers[status]} {status}" for status in others if numbers[status])])


def sql_block(sql: str) -> dg.MetadataValue:
    """A rule's SQL, as the UI shows code."""
    return dg.MetadataValue.md(f"```sql\n{sql}\n```")


def _first_offenders(failed: Sequence[RuleResult]) -> dg.MetadataValue:
    """The first offenders of all shards: which sample, what the rule expects of it, what it is."""
    offenders = [
        (result.shard, offender.sample_id or "(the file)", offender.expected, offender.actual)
        for result in failed
        for offender in result.offenders
    ]
    return dg.MetadataValue.md(table(["shard", "sample_id", "expected", "actual"], offenders[:OFFENDERS_SHOWN]))
