"""Where the engine's time goes: it names its stages to a clock, and does not care who listens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol


class Clock(Protocol):
    """Is told which stage the calling thread is in; a stage inside another takes the time out of the outer one."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A context in which time is the stage's."""


class _NoClock:
    @contextmanager
    def stage(self, name: str) -> Iterator[None]:  # noqa: ARG002  # a Protocol's name
        yield


#: Measures nothing.
NO_CLOCK: Final = _NoClock()
