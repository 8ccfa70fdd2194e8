"""Progress in a run's log, where there is no terminal to draw bars on."""

import time
from collections.abc import Callable
from typing import Final

import dagster as dg

_EVERY_SECONDS: Final = 10.0


class LoggedProgress:
    """Logs the start of a stage, then its progress: when rows are done, at most every ten seconds.

    Rows come in a burst when a batch ends, so the time before the first line gives no rate. From the second line on,
    the rate is measured since the first: both are at the beginning of a burst, if bursts take less than those ten
    seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = dg.get_dagster_logger()
        self._clock = clock
        self._what = ""
        self._total = self._done = 0
        self._started = self._logged_at = 0.0
        #: Rows and time of the first line.
        self._first: tuple[int, float] | None = None

    def start(self, stage: str, shard: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self._what = f"{stage}, shard {shard}"
        self._total, self._done, self._first = total, done, None
        self._started = self._logged_at = self._clock()
        if done:
            self._log.info(f"{self._what}: resuming after {done} of {total} rows from checkpoints")
        else:
            self._log.info(f"{self._what}: {total} rows to go")

    def advance(self, rows: int) -> None:
        """See `Progress`."""
        self._done += rows
        now = self._clock()
        if now - self._logged_at < _EVERY_SECONDS or self._done >= self._total:  # the whole shard has a line of its own
            return
        line = f"{self._what}: {self._done} of {self._total} rows after {_duration(now - self._started)}"
        if self._first is None:
            self._first = self._done, now
        else:
            done, at = self._first
            if self._done > done:
                seconds_a_row = (now - at) / (self._done - done)
                left = _duration((self._total - self._done) * seconds_a_row)
                line += f", {_pace(seconds_a_row)}, about {left} left"
        self._log.info(line)
        self._logged_at = now

    def finish(self) -> None:
        """See `Progress`."""

    def wait(self, seconds: int, why: str) -> None:
        """See `Progress`."""
        self._log.warning(f"trying again in {seconds} s: {why}")


def _pace(seconds_a_row: float) -> str:
    return f"{seconds_a_row:,.1f} s a row" if seconds_a_row > 1 else f"{1 / seconds_a_row:,.1f} rows/s"


def _duration(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
