"""Measures what a command costs: seconds, processor time and memory of its whole tree of processes."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laion_coco_assets.errors import UserError

_SAMPLE_S: Final = 0.25


@dataclass(frozen=True)
class Cost:
    """The cost of one run: its end (`time.monotonic`), CPU seconds, and the peak memory of all its processes in bytes."""

    ended: float
    cpu_s: float
    peak_memory_bytes: int


def run_measured(command: Sequence[str], env: Mapping[str, str], log: Path) -> Cost:
    """Run a command to its end, with its output in `log`. An exception or an interrupt kills all of its processes.

    Raises:
        UserError: the command failed. The message holds its last lines.
    """
    before = _children_s()
    peak = 0
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own command line
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            while process.poll() is None:
                peak = max(peak, _tree_bytes(process.pid))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_SAMPLE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    ended = time.monotonic()
    if process.returncode:
        last = log.read_text(errors="replace").strip()[-1500:]
        raise UserError(f"{Path(command[0]).name} ended with {process.returncode}: {last}")
    return Cost(ended, _children_s() - before, peak or _largest_child())


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _largest_child() -> int:
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def _tree_bytes(root: int) -> int:
    """The sum of the proportional set sizes, so that shared memory counts once. 0 without /proc."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError, ValueError, IndexError):  # processes come and go
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            total += int(rollup.partition("\nPss:")[2].split()[0]) << 10
        with suppress(OSError, ValueError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (thread / "children").read_text(encoding="ascii").split())
    return total
