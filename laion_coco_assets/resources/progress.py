"""Progress in a run's log, where there is no terminal to draw bars on."""

import time
from typing import Final

import dagster as dg

_EVERY_SECONDS: Final = 10.0


class LoggedProgress:
    """Logs how far a stage is, at most every ten seconds."""

    def __init__(self) -> None:
        self._log = dg.get_dagster_logger()
        self._what = ""
        self._total = self._done = self._found = 0
        self._started = self._said = 0.0

    def start(self, stage: str, shard: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self._what = f"{stage}, shard {shard}"
        self._total, self._done, self._found = total, done, done
        self._started = self._said = time.monotonic()
        if done:
            self._log.info(f"{self._what}: going on behind {done} of {total} rows found in checkpoints")

    def advance(self, rows: int) -> None:
        """See `Progress`."""
        self._done += rows
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS:
            rate = (self._done - self._found) / (now - self._started)
            left = (self._total - self._done) / rate if rate else float("inf")
            self._log.info(f"{self._what}: {self._done} of {self._total} rows, {rate:.1f}/s, {left:.0f} s left")
            self._said = now

    def finish(self) -> None:
        """See `Progress`."""

    def wait(self, seconds: int, why: str) -> None:
        """See `Progress`."""
        self._log.warning(f"trying again in {seconds} s: {why}")
