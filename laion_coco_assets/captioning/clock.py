"""Where the engine's time goes: it names its stages to a clock, and does not care who listens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol


class Clock(Protocol):
    """Is told which stage the calling thread is in; a stage inside another takes the time out of the outer one."""

    def stage(self, name: str) -> "ClockStage":
        """A context in which time is the stage's."""


class ClockStage(Protocol):
    """A context manager without a value."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> None: ...


class _NoClock:
    @contextmanager
    def stage(self, name: str) -> Iterator[None]:  # noqa: ARG002  # a Protocol's name
        yield


#: Measures nothing.
NO_CLOCK: Final = _NoClock()
