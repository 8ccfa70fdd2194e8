"""What the terminal's commands share: running shards under progress bars, and the tables at the end."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.table import Table
from rich.text import Text

from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.cli.runner import ShardOutcome, run_shards
from laion_coco_assets.contract.profile import load_profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.errors import StoreError, UserError
from laion_coco_assets.printable import harmless, printable
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.source import SourceShard
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.leftovers import delete, leftovers
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets.wording import counted

#: How many shards a line names; the rest are counted.
_SHARDS_NAMED: Final = 5


class _Rate(ProgressColumn):
    """Rows a second, measured over the last rows."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="progress.data.speed")


class Bars:
    """One bar a stage, over all shards of the run. Implements `laion_coco_assets.progress.Progress`."""

    def __init__(self, console: Console, shards: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeLeft(), console=console
        )
        self._shards = self._progress.add_task("shards", total=shards)
        self._stages: dict[str, TaskID] = {}
        self._now: TaskID = self._shards

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, stage: str, shard: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        if stage not in self._stages:
            self._stages[stage] = self._progress.add_task(stage, total=0)
        self._now = self._stages[stage]
        task = self._progress.tasks[self._now]
        self._progress.update(self._now, total=(task.total or 0) + total, completed=task.completed + done)
        behind = f", {done:,} of them found in checkpoints" if done else ""
        self._console.print(f"[dim]{escape(shard)}: {stage}, {total:,} rows{behind}[/]", highlight=False)

    def advance(self, rows: int) -> None:
        """See `Progress`."""
        self._progress.advance(self._now, rows)

    def finish(self) -> None:
        """See `Progress`."""

    def wait(self, seconds: int, why: str) -> None:
        """See `Progress`."""
        said = f"[yellow]trying again in {seconds} s:[/] {escape(harmless(why))}"
        self._console.print(said, highlight=False, soft_wrap=True)

    def shard_done(self) -> None:
        """One more shard is through."""
        self._progress.advance(self._shards)


def ask_for_contact(profile: str, source: SourceShard, err: Console) -> None:
    """Say in one line that servers are not told whom they serve, where images would be fetched so."""
    agent = load_profile(profile).fetch.user_agent
    if "://" in agent or "@" in agent:
        return
    with suppress(UserError):  # of a source that can not be read its shard will tell
        if not source.brings_images:
            said = f"user_agent has no contact: give it a URL or an address under [fetch] in a profile of yours, not {agent!r}"
            err.print(f"[yellow]warning:[/] {escape(harmless(said))}", highlight=False, soft_wrap=True)


def run_and_report(
    settings: Settings,
    shards: Sequence[str],
    out: Console,
    err: Console,
    overrides: Mapping[str, Any] | None = None,
    *,
    max_samples: int | None = None,
) -> int:
    """Run the shards under bars, print what came of each; returns the exit code: 1 when a shard failed."""
    with Bars(err, len(shards)) as bars:
        outcomes = _shown(run_shards(settings, shards, bars, overrides, max_samples=max_samples), bars, err)
    out.print(outcomes_table(outcomes))
    return _exit_code(outcomes, err)


def fetch_and_report(
    settings: Settings,
    shards: Sequence[str],
    retry: Sequence[str],
    out: Console,
    err: Console,
    *,
    max_samples: int | None = None,
) -> int:
    """Like `run_and_report` for the stage `fetched_images` alone, with the rows by reason at the end.

    With `retry`, only the rows with these reasons are asked for again, in shards whose file is there.
    """
    stage = Stage.FETCHED_IMAGES
    with Bars(err, len(shards)) as bars:
        config = {stage: {"retry": list(retry)}}
        running = run_shards(settings, shards, bars, stages=(stage,), config=config, max_samples=max_samples)
        outcomes = _shown(running, bars, err)
    out.print(fetched_table(outcomes))
    store = ShardStore(settings.data_dir)
    made = [each.shard for each in outcomes if stage in each.metadata]
    reasons = Counter(row["reason"] for shard in made for row in stage_rows(store, stage, shard, ["reason"]))
    total = reasons.total()
    del reasons[None]
    if reasons:
        out.print(reasons_table(reasons, total))
    return _exit_code(outcomes, err)


def export_and_report(
    store: ShardStore, stage: Stage, shards: Sequence[str], target: ShardStore, out: Console, err: Console
) -> int:
    """Write the shards' WebDataset tars under bars, say what came of each; returns the exit code: 1 when one failed.

    Raises:
        StoreError: the target holds tars of another stage, or can not be read; nothing was written.
    """
    from laion_coco_assets.publishing.webdataset import export_fetched, export_shard, keep_one_stage

    keep_one_stage(target, stage)
    export = export_fetched if stage is Stage.FETCHED_IMAGES else export_shard
    failed, samples = [], 0
    with Bars(err, len(shards)) as bars:
        for shard in shards:
            try:
                made = export(store, shard, target, bars)
            except StoreError as error:
                failed.append(shard)
                err.print(f"[red]{escape(shard)}:[/] {escape(harmless(str(error)))}", highlight=False, soft_wrap=True)
            else:
                samples += made.samples
                if not made.samples:
                    out.print(f"{shard}: nothing to export, no tar", highlight=False, markup=False)
                elif not made.written:
                    out.print(f"{shard}: complete and unchanged", highlight=False, markup=False)
            bars.shard_done()
    out.print(
        f"{counted(samples, 'sample')} of {counted(len(shards) - len(failed), 'shard')} in {target.root}",
        highlight=False,
        markup=False,
    )
    if failed:
        err.print(
            f"[red]{len(failed)} of {counted(len(shards), 'shard')} failed:[/] {escape(', '.join(failed))}",
            soft_wrap=True,
        )
    return 1 if failed else 0


def clean_and_report(
    store: ShardStore, days: float, wanted: Mapping[Stage, str] | None, out: Console, err: Console, *, yes: bool
) -> int:
    """List what can go, and with `yes` delete it; returns the exit code: 1 when something was in use."""
    done: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    used = 0
    for each in leftovers(store, time.time() - days * 86_400, wanted):
        where = printable(each.path.path.removeprefix(store.root.path).lstrip("/"))
        line = f"{_size(each.bytes):>10}  {each.kind:<15} {where}"
        if yes and not delete(store, each):
            used += 1
            err.print(f"{line}: in use, left", highlight=False, markup=False, soft_wrap=True)
            continue
        out.print(line, highlight=False, markup=False, soft_wrap=True)
        done[each.kind] += 1
        sizes[each.kind] += each.bytes
    for kind in done:
        out.print(f"{kind}: {done[kind]:,}, {_size(sizes[kind])}", highlight=False, markup=False)
    verb = "deleted" if yes else "to delete; nothing was, --yes does it"
    out.print(f"{_size(sizes.total())} {verb}" if done else "nothing to delete", highlight=False, markup=False)
    return 1 if used else 0


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _shown(running: Iterator[ShardOutcome], bars: Bars, err: Console) -> list[ShardOutcome]:
    outcomes = []
    for outcome in running:
        outcomes.append(outcome)
        bars.shard_done()
        for stage, message in outcome.errors.items():
            err.print(
                f"[red]{escape(outcome.shard)}, {escape(stage)}:[/] {escape(harmless(message))}",
                highlight=False,
                soft_wrap=True,
            )
    return outcomes


def _exit_code(outcomes: Sequence[ShardOutcome], err: Console) -> int:
    failed = [each.shard for each in outcomes if not each.ok]
    if failed:
        err.print(
            f"[red]{len(failed)} of {counted(len(outcomes), 'shard')} failed:[/] {escape(', '.join(failed))}",
            soft_wrap=True,
        )
    return 1 if failed else 0


def outcomes_table(outcomes: Sequence[ShardOutcome]) -> Table:
    """A line a shard: what came of its rows, at what speed, and what went wrong."""

    def numbers(each: ShardOutcome) -> list[int | None]:
        last = each.metadata.get(Stage.PUBLISHED, {})
        return [last.get("source_rows"), last.get("dagster/row_count"), last.get("rejected")]

    return _shards_table(outcomes, ("rows", "published", "rejected"), numbers)


def fetched_table(outcomes: Sequence[ShardOutcome]) -> Table:
    """Likewise, of a run that only fetched."""

    def numbers(each: ShardOutcome) -> list[int | None]:
        made = each.metadata.get(Stage.FETCHED_IMAGES, {})
        rows, ok = made.get("dagster/row_count"), made.get("ok")
        return [rows, ok, None if rows is None or ok is None else rows - ok]

    return _shards_table(outcomes, ("rows", "images", "rejected"), numbers)


def _shards_table(
    outcomes: Sequence[ShardOutcome], names: Sequence[str], numbers: Callable[[ShardOutcome], list[int | None]]
) -> Table:
    table = Table(title="Shards", title_justify="left")
    for name in ("shard", *names, "seconds", ""):
        table.add_column(name, justify="left" if name in ("shard", "") else "right", overflow="fold")
    for each in outcomes:
        if each.errors:
            said = "[red]failed[/] at " + ", ".join(each.errors)
        elif each.failed_checks:
            said = "[red]checks failed:[/] " + ", ".join(each.failed_checks)
        else:
            skipped = bool(each.metadata) and all(metadata.get("skipped") for metadata in each.metadata.values())
            said = "complete and unchanged" if skipped else "[green]done[/]"
            said += f" [yellow](warnings: {', '.join(each.warnings)})[/]" if each.warnings else ""
        cells = ["" if number is None else f"{number:,}" for number in numbers(each)]
        table.add_row(escape(each.shard), *cells, f"{each.seconds:,.1f}", said)
    return table


def reasons_table(reasons: Counter[str], total: int) -> Table:
    """How many rows ended for which reason."""
    table = Table(title="Rejected rows by reason", title_justify="left")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("of all", justify="right")
    for reason, count in sorted(reasons.items(), key=lambda each: (-each[1], each[0])):
        table.add_row(reason, f"{count:,}", f"{count / total:.1%}" if total else "")
    return table


def checks_table(results: Sequence[RuleResult]) -> Table:
    """A line for each rule that failed in a shard: how grave it is, and how many offend."""
    table = Table(title="Failed rules", title_justify="left")
    for name in ("rule", "severity", "shard", "offenders"):
        table.add_column(name, justify="right" if name == "offenders" else "left", overflow="fold")
    for each in (result for result in results if result.status == Status.FAILED):
        colour = "red" if each.rule.severity == "error" else "yellow"
        severity = f"[{colour}]{each.rule.severity}[/]"
        table.add_row(each.rule.name, severity, escape(printable(each.shard)), f"{each.count:,}")
    return table


def offender_lines(results: Sequence[RuleResult]) -> Iterator[str]:
    """A head, then the first ten of each failure, cells parted by tabs; `-` for the sample_id where the file as a whole fails."""
    yield "rule\tshard\tsample_id\texpected\tactual"
    for each in (result for result in results if result.status == Status.FAILED):
        for offender in each.offenders:
            cells = (each.rule.name, each.shard, offender.sample_id or "-", offender.expected, offender.actual)
            yield "\t".join(map(printable, cells))


def skipped_lines(results: Sequence[RuleResult]) -> Iterator[str]:
    """A line for each reason and the shards it holds for, with all rules that were skipped there."""
    shards: dict[tuple[str, str], list[str]] = {}
    for each in (result for result in results if result.status == Status.SKIPPED):
        shards.setdefault((each.why, each.rule.name), []).append(printable(each.shard))
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (why, name), listed in shards.items():
        rules.setdefault((why, tuple(listed)), []).append(name)
    for (why, where), names in rules.items():
        more = f" and {len(where) - _SHARDS_NAMED:,} more" if len(where) > _SHARDS_NAMED else ""
        yield f"skipped in {', '.join(where[:_SHARDS_NAMED])}{more}: {why}: {', '.join(names)}"
