"""A rule's results as Dagster shows them: expected and actual, offenders, the SQL."""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from laion_coco_assets.checks.results import OFFENDERS_SHOWN, RuleResult, Status
from laion_coco_assets.checks.rules import Rule, Severity
from laion_coco_assets.markdown import table
from laion_coco_assets.wording import counted


def _severity(rule: Rule) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if rule.severity == Severity.ERROR else dg.AssetCheckSeverity.WARN


def evaluation(result: RuleResult) -> dg.AssetCheckEvaluation:
    """A shard's own result. Dagster 1.13 files a check's result under the run; only one that is logged has a partition.

    Not a runless one: the instance's database takes one of those for a check and partition, and refuses the second.
    """
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(result.rule.stage.value),
        check_name=result.rule.name,
        passed=result.status != Status.FAILED,
        severity=_severity(result.rule),
        # There are as many of these as shards times rules: the check itself shows the SQL of those that passed.
        metadata=_metadata([result], sql=result.rule.sql if result.status == Status.FAILED else ""),
        description=f"{result.shard}: {_in_words([result])}",
        partition=result.shard,
    )


def evaluation_over_shards(rule: Rule, results: Sequence[RuleResult]) -> dg.AssetCheckEvaluation:
    """The run's own result, as it is logged."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(rule.stage.value),
        check_name=rule.name,
        passed=all(each.status != Status.FAILED for each in results),
        severity=_severity(rule),
        metadata=_metadata(results, sql=rule.sql),
        description=_in_words(results),
    )


def result_over_shards(rule: Rule, results: Sequence[RuleResult], *, alone: bool) -> dg.AssetCheckResult:
    """The same, as a step of checks returns it. `alone`: bad shards are held back one by one, so it stops nothing."""
    said = evaluation_over_shards(rule, results)
    return dg.AssetCheckResult(
        check_name=rule.name,
        asset_key=said.asset_key,
        passed=said.passed,
        severity=dg.AssetCheckSeverity.WARN if alone else said.severity,
        metadata=said.metadata,
        description=said.description,
    )


def _metadata(results: Sequence[RuleResult], *, sql: str = "") -> dict[str, dg.MetadataValue]:
    failed = [each for each in results if each.status == Status.FAILED]
    skipped = [each for each in results if each.status == Status.SKIPPED]
    count = sum(each.count for each in failed)
    expected = "0 offenders"
    if len(results) == 1 and results[0].actual:
        expected = results[0].expected
    metadata: dict[str, dg.MetadataValue] = {
        "expected": dg.MetadataValue.text(expected),
        "actual": dg.MetadataValue.text(_in_words(results)),
    }
    if failed:
        # A number besides, which Dagster plots; of a check that passes it would plot a line of zeros.
        metadata["offenders"] = dg.MetadataValue.int(count)
        metadata["failed_shards"] = dg.MetadataValue.json([each.shard for each in failed])
        metadata["first_offenders"] = _first_offenders(failed)
    if skipped:
        metadata["skipped"] = dg.MetadataValue.json({each.shard: each.why for each in skipped})
    if sql:
        metadata["sql"] = sql_block(sql)
    return metadata


def _in_words(results: Sequence[RuleResult]) -> str:
    """What came out, of one shard or of several."""
    if len(results) == 1 and results[0].status == Status.SKIPPED:
        return f"skipped: {results[0].why}"
    if len(results) == 1 and results[0].actual:
        return results[0].actual
    by_status = Counter(each.status for each in results)
    said = counted(sum(each.count for each in results), "offender")
    if len(results) > 1:
        said += f" in {by_status[Status.FAILED]} of {len(results)} shards"
        said += f", {by_status[Status.SKIPPED]} skipped" if by_status[Status.SKIPPED] else ""
    return said


def sql_block(sql: str) -> dg.MetadataValue:
    """A rule's SQL, as the UI shows code."""
    return dg.MetadataValue.md(f"```sql\n{sql}\n```")


def _first_offenders(failed: Sequence[RuleResult]) -> dg.MetadataValue:
    """The first offenders of all shards: which sample, what the rule expects of it, what it is."""
    offenders = [
        (each.shard, offender.sample_id or "(the file)", offender.expected, offender.actual)
        for each in failed
        for offender in each.offenders
    ]
    return table(["shard", "sample_id", "expected", "actual"], offenders[:OFFENDERS_SHOWN])
