"""What commands print at their end: tables and lines about shards, rows and rules. The commands print them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.table import Table

from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.printable import printable
from laion_coco_assets.wording import counted

if TYPE_CHECKING:
    from laion_coco_assets.cli.runner import ShardOutcome

#: How many shards a line names; the rest are counted.
_SHARDS_NAMED: Final = 5


def outcomes_table(outcomes: Sequence[ShardOutcome]) -> Table:
    """One line per shard: how many rows it has, published and rejected, how long it took and what went wrong."""

    def numbers(outcome: ShardOutcome) -> list[int | None]:
        last = outcome.metadata.get(StageName.PUBLISHED, {})
        return [last.get("source_rows"), last.get("dagster/row_count"), last.get("rejected")]

    return _shards_table(outcomes, ("rows", "published", "rejected"), numbers)


def fetched_table(outcomes: Sequence[ShardOutcome]) -> Table:
    """One line per shard of a run that only fetched: rows, images, rejected rows, time and what went wrong."""

    def numbers(outcome: ShardOutcome) -> list[int | None]:
        made = outcome.metadata.get(StageName.FETCHED_IMAGES, {})
        rows, ok = made.get("dagster/row_count"), made.get("ok")
        return [rows, ok, None if rows is None or ok is None else rows - ok]

    return _shards_table(outcomes, ("rows", "images", "rejected"), numbers)


def _shards_table(
    outcomes: Sequence[ShardOutcome], names: Sequence[str], numbers: Callable[[ShardOutcome], list[int | None]]
) -> Table:
    table = Table(title="Shards", title_justify="left")
    for name in ("shard", *names, "seconds", ""):
        table.add_column(name, justify="left" if name in ("shard", "") else "right", overflow="fold")
    for outcome in outcomes:
        cells = ["" if number is None else f"{number:,}" for number in numbers(outcome)]
        table.add_row(escape(outcome.shard), *cells, f"{outcome.seconds:,.1f}", _verdict(outcome))
    return table


def _verdict(outcome: ShardOutcome) -> str:
    if outcome.errors:
        return "[red]failed[/] at " + ", ".join(outcome.errors)
    if outcome.failed_checks:
        return "[red]checks failed:[/] " + ", ".join(outcome.failed_checks)
    skipped = bool(outcome.metadata) and all(metadata.get("skipped") for metadata in outcome.metadata.values())
    verdict = "complete and unchanged" if skipped else "[green]done[/]"
    return verdict + (f" [yellow](warnings: {', '.join(outcome.warnings)})[/]" if outcome.warnings else "")


def reasons_table(reasons: Mapping[str, int], total: int) -> Table:
    """How many of `total` rows were rejected for which reason, the most frequent first."""
    table = Table(title="Rejected rows by reason", title_justify="left")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("of all", justify="right")
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(reason, f"{count:,}", f"{count / total:.1%}" if total else "")
    return table


def checks_table(results: Sequence[RuleResult]) -> Table:
    """One line for each rule that failed in a shard: its severity and the number of offenders."""
    table = Table(title="Failed rules", title_justify="left")
    for name in ("rule", "severity", "shard", "offenders"):
        table.add_column(name, justify="right" if name == "offenders" else "left", overflow="fold")
    for result in _with_status(results, Status.FAILED):
        colour = "red" if result.rule.severity == "error" else "yellow"
        severity = f"[{colour}]{result.rule.severity}[/]"
        table.add_row(result.rule.name, severity, escape(printable(result.shard)), f"{result.count:,}")
    return table


def offender_lines(results: Sequence[RuleResult]) -> Iterator[str]:
    """A header, then up to ten offenders of each failure, cells separated by tabs; the sample_id is `-` for a whole file."""
    yield "rule\tshard\tsample_id\texpected\tactual"
    for result in _with_status(results, Status.FAILED):
        for offender in result.offenders:
            cells = (result.rule.name, result.shard, offender.sample_id or "-", offender.expected, offender.actual)
            yield "\t".join(map(printable, cells))


def stale_lines(results: Sequence[RuleResult]) -> Iterator[str]:
    """A line for each stale shard: why, and which stages are to run again."""
    stages: dict[tuple[str, str], list[str]] = {}
    for result in _with_status(results, Status.STALE):
        named = stages.setdefault((result.shard, result.why), [])
        if result.rule.on_origin:
            named.append(result.rule.stage)
    for (shard, why), names in stages.items():
        yield f"stale: {printable(shard)}: {why}" + (f" ({', '.join(names)})" if names else "")


def skipped_line(results: Sequence[RuleResult]) -> Iterator[str]:
    """One line on what was skipped, if anything was."""
    skipped = _with_status(results, Status.SKIPPED)
    if skipped:
        rules, shards = {result.rule.name for result in skipped}, {result.shard for result in skipped}
        where = counted(len(shards), "shard")
        yield f"skipped: {counted(len(rules), 'rule')} in {where}, for want of files or rows; -v says which and why"


def verdict(results: Sequence[RuleResult], shards: int) -> str:
    """How many rules passed, failed, warned or were skipped over this many shards, and how many shards are stale."""
    numbers = Counter(result.status for result in results)
    failed = _with_status(results, Status.FAILED)
    blocking = sum(result.rule.is_blocking for result in failed)
    text = f"{len({result.rule.name for result in results})} rules over {counted(shards, 'shard')}: "
    text += f"{numbers[Status.PASSED]} passed, {blocking} failed, {len(failed) - blocking} warned, "
    text += f"{numbers[Status.SKIPPED]} skipped"
    stale = {result.shard for result in _with_status(results, Status.STALE)}
    return text + (f"; {counted(len(stale), 'shard')} stale" if stale else "")


def skipped_lines(results: Sequence[RuleResult]) -> Iterator[str]:
    """A line for each reason to skip and the shards it holds for, with all rules that were skipped there."""
    shards: dict[tuple[str, str], list[str]] = {}
    for result in _with_status(results, Status.SKIPPED):
        shards.setdefault((result.why, result.rule.name), []).append(printable(result.shard))
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (why, name), listed in shards.items():
        rules.setdefault((why, tuple(listed)), []).append(name)
    for (why, where), names in rules.items():
        more = f" and {len(where) - _SHARDS_NAMED:,} more" if len(where) > _SHARDS_NAMED else ""
        yield f"skipped in {', '.join(where[:_SHARDS_NAMED])}{more}: {why}: {', '.join(names)}"


def accuracy_table(shares: Mapping[str, float]) -> Table:
    """The share of right captions, 0 to 1, by where they come from, with a bar each."""
    table = Table(title="Captions that name the right objects, colours, counts and relation", title_justify="left")
    table.add_column("caption")
    table.add_column("right", justify="right")
    table.add_column("")
    for name, share in shares.items():
        table.add_row(name, f"{share:.1%}", "█" * round(share * 30))
    return table


def _with_status(results: Sequence[RuleResult], status: Status) -> list[RuleResult]:
    return [result for result in results if result.status == status]
