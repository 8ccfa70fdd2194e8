"""Progress bars, one per stage, while shards are run or exported."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.text import Text

from laion_coco_assets.printable import harmless


class _Rate(ProgressColumn):
    """Rows per second, measured over the last rows."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="progress.data.speed")


class Bars:
    """One bar per stage, over all shards of the run. Implements `laion_coco_assets.progress.Progress`."""

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
        resumed = f", {done:,} of them from checkpoints" if done else ""
        self._console.print(f"[dim]{escape(shard)}: {stage}, {total:,} rows{resumed}[/]", highlight=False)

    def advance(self, rows: int) -> None:
        """See `Progress`."""
        self._progress.advance(self._now, rows)

    def finish(self) -> None:
        """See `Progress`."""

    def wait(self, seconds: int, why: str) -> None:
        """See `Progress`."""
        line = f"[yellow]trying again in {seconds} s:[/] {escape(harmless(why))}"
        self._console.print(line, highlight=False, soft_wrap=True)

    def shard_done(self) -> None:
        """One more shard is finished, or has failed."""
        self._progress.advance(self._shards)
