"""Measures where the engine's time goes. The engine names its stages to a clock."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol


class Clock(Protocol):
    """Records which stage the calling thread is in. Time in an inner stage does not count for the outer one."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A context whose time counts for the stage."""


class _NoClock:
    @contextmanager
    def stage(self, name: str) -> Iterator[None]:  # noqa: ARG002  # a Protocol's name
        yield


#: Measures nothing.
NO_CLOCK: Final = _NoClock()
