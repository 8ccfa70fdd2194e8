"""Stopwatches: seconds a stage, without waiting for the device in between; and the peak of memory."""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

OTHER = "other"


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class LapClock:
    """Adds up the time between changes of stage. On CUDA by events in the stream, so that measuring stops nothing.

    Implements `laion_coco_assets.captioning.clock.Clock`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stack = [OTHER]
        self._laps: list[tuple[str, Any]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """See `Clock`."""
        self._switch(name)
        self._stack.append(name)
        try:
            yield
        finally:
            self._stack.pop()
            self._switch(self._stack[-1])

    def start(self) -> None:
        """Forget everything; time from here on is `other` until a stage begins."""
        synchronise(self._device)
        self._laps = []
        self._switch(OTHER)

    def stop(self) -> dict[str, float]:
        """Seconds of each stage since `start`; their sum is the whole time."""
        self._switch(OTHER)
        synchronise(self._device)
        seconds: dict[str, float] = defaultdict(float)
        for (name, begin), (_, end) in zip(self._laps, self._laps[1:], strict=False):
            seconds[name] += begin.elapsed_time(end) / 1000 if self._device.type == "cuda" else end - begin
        return dict(seconds)

    def _switch(self, name: str) -> None:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._laps.append((name, event))
            return
        synchronise(self._device)
        self._laps.append((name, time.perf_counter()))


def reset_peak_memory(device: torch.device) -> None:
    """Let the peak begin anew, where the system can do that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # the peak is then that of the process so far


def peak_memory(device: torch.device) -> int:
    """Bytes: CUDA's allocations; else the process' resident memory, weights of all pipelines included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def matmul_tflops(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """The best rate of a square matrix product, in TFLOP/s: what this device does when nothing is in the way."""
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    begun = time.perf_counter()
    while best == float("inf") or time.perf_counter() - begun < seconds:
        synchronise(device)
        started = time.perf_counter()
        for _ in range(10 if device.type == "cuda" else 1):
            torch.mm(left, right)
        synchronise(device)
        best = min(best, (time.perf_counter() - started) / (10 if device.type == "cuda" else 1))
    return 2 * size**3 / best / 1e12
