"""Signs of life from another process, and when there are so few that it must be stopped, or hang for good."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

#: How often a process that lives says so.
BEAT_S: Final = 5.0
#: Silence of so many beats is no load: the longest that an event loop is busy at a time here, with a hostile robots.txt, is a
#: fifth of a second, so a machine would have to be 600 times too slow, and that for one of its processes only.
_MISSED: Final = 24


class Pulse:
    """One process's, as another one feels it.

    Silence is counted in beats of our own rather than by the clock. If we were stopped ourselves, or slow, that is one
    beat however long it took, and what the other has said meanwhile is heard before the next.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._heard = True

    def heard(self) -> None:
        """The process said something."""
        self._heard = True

    async def lost(self) -> str:
        """Returns what happened when the process has been silent for too long."""
        missed = 0
        while missed < _MISSED:
            await self._sleep(BEAT_S)
            missed = 0 if self._heard else missed + 1
            self._heard = False
        return f"no sign of life for {_MISSED * BEAT_S:g} s: stopped, or hanging"
