"""Reports how far long work is. The stages report to a `Progress`; the code that runs them decides how to show it."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one stage over one shard."""

    def start(self, stage: str, shard: str, total: int, done: int = 0) -> None:
        """A stage begins on a shard of `total` rows. Its checkpoints hold `done` of them already."""

    def advance(self, rows: int) -> None:
        """`rows` more rows are done."""

    def finish(self) -> None:
        """The stage's file is written."""

    def wait(self, seconds: int, why: str) -> None:
        """The work stops for this many seconds and is then tried again."""


class NoProgress:
    """Shows nothing."""

    def start(self, stage: str, shard: str, total: int, done: int = 0) -> None:
        """Ignore."""

    def advance(self, rows: int) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""

    def wait(self, seconds: int, why: str) -> None:
        """Ignore."""
