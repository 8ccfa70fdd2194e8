"""A stopwatch that adds up the seconds of each stage. On CUDA it does not wait for the device between stages."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

OTHER = "other"


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class LapClock:
    """Adds up the time between changes of stage. On CUDA it uses events in the stream, so measuring delays nothing.

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
