"""Manners, per host: how many requests at once, how far apart, and leaving alone who asks for it or never answers."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from laion_coco_assets.contract.reasons import Rejection

#: Hosts whose failures are remembered; the longest untouched is forgotten first.
_REMEMBERED: Final = 50_000
#: The longest that a host's wish to be left alone is kept.
_LONGEST_WISH_S: Final = 86_400.0


class Seat:
    """One of a semaphore's slots, which may be left and taken again."""

    __slots__ = ("_semaphore", "_taken")

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore
        self._taken = False

    async def take(self) -> None:
        await self._semaphore.acquire()
        self._taken = True

    def leave(self) -> None:
        if self._taken:
            self._taken = False
            self._semaphore.release()


class _Gate:
    __slots__ = ("door", "slots", "users")

    def __init__(self, width: int) -> None:
        self.slots = asyncio.Semaphore(width)
        self.door = asyncio.Lock()
        self.users = 0


class _Record:
    __slots__ = ("failures", "last", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self.last: Rejection | None = None


class Hosts:
    """Slots, spacing and failure records of all hosts. Belongs to one event loop; `clock` gives seconds."""

    def __init__(
        self,
        per_host: int,
        max_failures: int,
        rest_s: float,
        clock: Callable[[], float] = monotonic,
        *,
        spacing_s: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._per_host = per_host
        self._max_failures = max_failures
        self._rest_s = rest_s
        self._clock = clock
        self._spacing_s = spacing_s
        self._sleep = sleep
        #: When the next request may start, of hosts that have to wait for it, the soonest first.
        self._next: OrderedDict[str, float] = OrderedDict()
        #: Until when no request may start, of hosts that asked for a pause; the one that asked last is last.
        self._pauses: OrderedDict[str, float] = OrderedDict()
        #: Until when a host asked to be left alone, and the reason of its rows until then.
        self._wishes: OrderedDict[str, tuple[float, Rejection]] = OrderedDict()
        self._gates: dict[str, _Gate] = {}
        self._records: OrderedDict[str, _Record] = OrderedDict()

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[Seat]:
        """One of the host's slots."""
        gate = self._gates.setdefault(host, _Gate(self._per_host))
        gate.users += 1
        seat = Seat(gate.slots)
        try:
            await seat.take()
            yield seat
        finally:
            seat.leave()
            gate.users -= 1
            if not gate.users:
                del self._gates[host]

    def wanted(self, host: str) -> bool:
        """Whether others than who has a slot are waiting or at work there, so that a connection is worth keeping."""
        return self._gates[host].users > 1

    @asynccontextmanager
    async def turn(
        self, host: str, shared: asyncio.Semaphore, admits: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Seat | None]:
        """One of the slots that all hosts share, for who has one of the host's own: `spacing_s` after the host's last.

        A host stands in the common line once, however many of its rows wait, so hosts take turns; and while it waits
        for its spacing or a pause it stands in no line and keeps no common slot. Yields None, and the turn is as good as
        none, if `admits` says no by then.
        """
        seat = Seat(shared)
        try:
            async with self._gates[host].door:
                while True:
                    while (wait_s := self._wait_s(host)) > 0:
                        await self._sleep(wait_s)
                    await seat.take()
                    if self._wait_s(host) <= 0:
                        break
                    seat.leave()  # the host asked for a pause meanwhile
                admitted = admits()
                if admitted:
                    self._starts(host)
            yield seat if admitted else None
        finally:
            seat.leave()

    def _wait_s(self, host: str) -> float:
        return max(self._next.get(host, 0.0), self._pauses.get(host, 0.0)) - self._clock()

    def pause(self, host: str, pause_s: float) -> None:
        """The host asked for it: none of its requests starts for so long; its rows wait."""
        until = self._clock() + pause_s
        self._pauses[host] = max(until, self._pauses.pop(host, 0.0))
        if len(self._pauses) > _REMEMBERED:
            self._pauses.popitem(last=False)

    def leave_alone(self, host: str, wish_s: float, rejection: Rejection) -> None:
        """The host asked for it: `resting` for so long, a day at most, whatever its other answers are."""
        if not self._max_failures:
            return
        detail = f"not asked: the host wants to be left alone for {wish_s:.0f} s ({rejection.detail})"
        until = self._clock() + min(wish_s, _LONGEST_WISH_S)
        self._wishes.pop(host, None)
        self._wishes[host] = until, Rejection(rejection.reason, detail)
        if len(self._wishes) > _REMEMBERED:
            self._wishes.popitem(last=False)

    def _starts(self, host: str) -> None:
        self._pauses.pop(host, None)  # it is over
        if not self._spacing_s:
            return
        now = self._clock()
        self._next[host] = now + self._spacing_s
        self._next.move_to_end(host)
        while self._next and next(iter(self._next.values())) <= now:
            self._next.popitem(last=False)

    def resting(self, host: str) -> Rejection | None:
        """Why not to ask the host now: the reason seen last, while it is being left alone."""
        until, wish = self._wishes.get(host, (0.0, None))
        if wish is not None and self._clock() < until:
            return wish
        record = self._records.get(host)
        if record is not None and record.last is not None and self._clock() < record.until:
            detail = f"not asked: {record.failures} in a row of this host ended so ({record.last.detail})"
            return Rejection(record.last.reason, detail)
        return None

    def answered(self, host: str) -> None:
        """The host gave an answer other than to slow down."""
        self._records.pop(host, None)

    def failed(self, host: str, rejection: Rejection) -> None:
        """A row ended without any answer from the host, or it answered to slow down."""
        if not self._max_failures:
            return
        record = self._records.setdefault(host, _Record())
        self._records.move_to_end(host)
        record.failures += 1
        record.last = rejection
        if record.failures >= self._max_failures:
            record.until = self._clock() + self._rest_s
        if len(self._records) > _REMEMBERED:
            self._records.popitem(last=False)
