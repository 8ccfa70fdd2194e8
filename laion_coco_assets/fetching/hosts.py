"""Manners, per host: how many requests at once, and leaving alone a host that does not answer."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from laion_coco_assets.fetching.reasons import Rejection

#: Hosts whose failures are remembered; the longest untouched is forgotten first.
_REMEMBERED: Final = 50_000


class _Gate:
    __slots__ = ("slots", "users")

    def __init__(self, width: int) -> None:
        self.slots = asyncio.Semaphore(width)
        self.users = 0


class _Record:
    __slots__ = ("failures", "last", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self.last: Rejection | None = None


class Hosts:
    """Slots and failure records of all hosts. Belongs to one event loop; `clock` gives seconds."""

    def __init__(self, per_host: int, max_failures: int, rest_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._per_host = per_host
        self._max_failures = max_failures
        self._rest_s = rest_s
        self._clock = clock
        self._gates: dict[str, _Gate] = {}
        self._records: OrderedDict[str, _Record] = OrderedDict()

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[bool]:
        """One of the host's slots. Yields whether others are waiting or at work there, so that a connection is worth keeping."""
        gate = self._gates.setdefault(host, _Gate(self._per_host))
        gate.users += 1
        try:
            async with gate.slots:
                yield gate.users > 1
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[host]

    def resting(self, host: str) -> Rejection | None:
        """Why not to ask the host now: the reason seen last, while it is being left alone."""
        record = self._records.get(host)
        if record is not None and record.last is not None and self._clock() < record.until:
            detail = f"not asked: {record.failures} rows of this host in a row ended so ({record.last.detail})"
            return Rejection(record.last.reason, detail)
        return None

    def answered(self, host: str) -> None:
        """The host gave an answer of whatever kind."""
        self._records.pop(host, None)

    def failed(self, host: str, rejection: Rejection) -> None:
        """A row ended without any answer from the host."""
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
