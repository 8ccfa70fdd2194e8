"""Per-host limits: concurrency, request spacing and pauses. The circuit breaker is in `breaker`."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

#: Hosts whose pauses are remembered. The one that asked longest ago is forgotten first.
_MAX_HOSTS: Final = 50_000


class Slot:
    """One slot of a semaphore, which may be released and acquired again."""

    __slots__ = ("_acquired", "_semaphore")

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore
        self._acquired = False

    async def acquire(self) -> None:
        """Waits for a free slot."""
        await self._semaphore.acquire()
        self._acquired = True

    def release(self) -> None:
        """Does nothing if the slot is not acquired."""
        if self._acquired:
            self._acquired = False
            self._semaphore.release()


class _Host:
    __slots__ = ("queue", "slots", "users")

    def __init__(self, slots: int) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.queue = asyncio.Lock()  # held by the one request that waits for a shared slot
        self.users = 0


class HostLimits:
    """Slots, spacing and pauses of all hosts. Belongs to one event loop; `clock` gives seconds."""

    def __init__(
        self,
        requests_per_host: int,
        clock: Callable[[], float] = monotonic,
        *,
        spacing_s: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._requests_per_host = requests_per_host
        self._clock = clock
        self._spacing_s = spacing_s
        self._sleep = sleep
        #: When the next request may start, for hosts whose spacing is not over; the soonest first.
        self._next_start: OrderedDict[str, float] = OrderedDict()
        #: Until when no request may start, for hosts that asked for a pause; the latest one last.
        self._paused_until: OrderedDict[str, float] = OrderedDict()
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def host_slot(self, host: str) -> AsyncIterator[Slot]:
        """One of the host's slots."""
        limits = self._hosts.setdefault(host, _Host(self._requests_per_host))
        limits.users += 1
        slot = Slot(limits.slots)
        try:
            await slot.acquire()
            yield slot
        finally:
            slot.release()
            limits.users -= 1
            if not limits.users:
                del self._hosts[host]

    def has_more_rows(self, host: str) -> bool:
        """Whether another row waits for a slot of the host or has one, so that a connection is worth keeping."""
        return self._hosts[host].users > 1

    @asynccontextmanager
    async def shared_slot(
        self, host: str, shared: asyncio.Semaphore, may_start: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Slot | None]:
        """One of the slots that all hosts share, for a request with a host slot: `spacing_s` after the host's last start.

        At most one request per host waits for a shared slot, however many rows the host has, so hosts take turns. A
        request that waits for its host's spacing or pause does not wait for a shared slot and keeps none. Yields None,
        and nothing counts as started, if `may_start` says no once the slot is acquired.
        """
        slot = Slot(shared)
        try:
            async with self._hosts[host].queue:
                while True:
                    while (wait_s := self._wait_s(host)) > 0:
                        await self._sleep(wait_s)
                    await slot.acquire()
                    if self._wait_s(host) <= 0:
                        break
                    slot.release()  # the host asked for a pause meanwhile
                started = may_start()
                if started:
                    self._record_start(host)
            yield slot if started else None
        finally:
            slot.release()

    def pause(self, host: str, pause_s: float) -> None:
        """Starts none of the host's requests for `pause_s` seconds, as it asked; its rows wait."""
        until = self._clock() + pause_s
        self._paused_until[host] = max(until, self._paused_until.pop(host, 0.0))
        if len(self._paused_until) > _MAX_HOSTS:
            self._paused_until.popitem(last=False)

    def _wait_s(self, host: str) -> float:
        return max(self._next_start.get(host, 0.0), self._paused_until.get(host, 0.0)) - self._clock()

    def _record_start(self, host: str) -> None:
        self._paused_until.pop(host, None)  # it is over
        if not self._spacing_s:
            return
        now = self._clock()
        self._next_start[host] = now + self._spacing_s
        self._next_start.move_to_end(host)
        while self._next_start and next(iter(self._next_start.values())) <= now:
            self._next_start.popitem(last=False)
