"""The terminal's two consoles, and how a command ends: done, failed shards, a user's mistake, Ctrl-C."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from laion_coco_assets.errors import UserError
from laion_coco_assets.printable import harmless
from laion_coco_assets.wording import counted

out = Console()
err = Console(stderr=True)


def report_error(where: str, message: str) -> None:
    """One line on stderr for what failed while the command goes on."""
    err.print(f"[red]{escape(where)}:[/] {escape(harmless(message))}", highlight=False, soft_wrap=True)


def report_failed(failed: Sequence[str], of: int) -> int:
    """Name the shards that failed, if any; returns the exit code."""
    if failed:
        err.print(
            f"[red]{len(failed)} of {counted(of, 'shard')} failed:[/] {escape(', '.join(failed))}", soft_wrap=True
        )
    return 1 if failed else 0


def run_app(app: typer.Typer) -> None:
    """Run a terminal's commands: a user's mistake is one message and exit code 2, never a traceback."""
    try:
        app()
    except UserError as error:
        report_error("error", str(error))
        sys.exit(2)


@contextmanager
def interruptible(left: str = "finished work is kept; the same command resumes") -> Iterator[None]:
    """End long work with one line and exit code 130, as shells do, on Ctrl-C or SIGTERM; `left` says what is kept."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except KeyboardInterrupt:
        for impatience in (signal.SIGINT, signal.SIGTERM):
            signal.signal(impatience, signal.SIG_IGN)  # the exit is under way, and short
        err.print(f"[yellow]interrupted:[/] {left}", highlight=False)
        raise typer.Exit(130) from None


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
