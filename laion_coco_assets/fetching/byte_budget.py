"""How many bytes of response bodies a stream holds at once. Bounds memory, however large bodies are and however slow the reader is."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

#: An async context manager's factory: others have the request's slots, and its clock stops, while it is entered.
ReleaseSlots = Callable[[], AbstractAsyncContextManager[None]]


class ByteBudget:
    """Bytes that rows reserve, from a body's first byte until the row is returned. Belongs to one event loop.

    Rows are returned in order, so the row that the reader waits for (the head) may always go on: whatever it needs, it
    gets. Other rows start while less than `limit` bytes are reserved, and together reserve at most twice as much. A body
    that does not fit stays unread and gives up its slots meanwhile: a row with slots never waits here, so rows cannot
    wait for one another. While a body waits, only the head starts, so at most as many wait as there are slots.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sizes: dict[int, int] = {}
        self._reserved = 0
        self._head = 0
        self._changed = asyncio.Event()
        self._waiting = 0
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap: row, bytes, done when reserved

    def may_start(self, row: int) -> bool:
        """Whether `row` may start a request now: a row with a reservation always may."""
        return row <= self._head or row in self._sizes or (self._reserved < self._limit and not self._waiting)

    async def wait_to_start(self, row: int) -> None:
        """Returns when `row` may start a request."""
        while not self.may_start(row):
            await self._changed.wait()

    def try_reserve(self, row: int, size: int) -> bool:
        """Reserves `size` bytes in all for `row`, if they fit. Returns whether they did."""
        more = size - self._sizes.get(row, 0)
        if more > 0:
            if row > self._head and self._reserved + more > 2 * self._limit:
                return False
            self._reserved += more
            self._sizes[row] = size
        return True

    @contextmanager
    def waiting_body(self) -> Iterator[None]:
        """Entered by a row whose body waits unread, from before it releases its slots until it has them again."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._wake()

    async def reserve(self, row: int, size: int) -> None:
        """Returns when `size` bytes are reserved for `row`. Of the rows that wait, the first in order comes first."""
        reserved = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (row, size, reserved))
        await reserved

    def shrink(self, row: int, size: int) -> None:
        """Reduces the reservation of `row` to `size` bytes, if it is larger."""
        less = self._sizes.get(row, 0) - size
        if less > 0:
            self._reserved -= less
            self._sizes[row] = size
            if not size:
                del self._sizes[row]
            self._wake()

    def release_through(self, row: int) -> None:
        """Ends the reservations of all rows up to `row`: they were returned to the reader."""
        for returned in range(self._head, row + 1):
            self._reserved -= self._sizes.pop(returned, 0)
        self._head = max(self._head, row + 1)
        self._wake()

    def _wake(self) -> None:
        while self._queue:
            row, size, reserved = self._queue[0]
            if not reserved.done():  # else it was cancelled
                if not self.try_reserve(row, size):
                    break
                reserved.set_result(None)
            heapq.heappop(self._queue)
        self._changed.set()
        self._changed = asyncio.Event()


class Reservation:
    """One row's part of a byte budget. `has_waited` is set when its body had to wait; its user unsets it."""

    def __init__(self, budget: ByteBudget, row: int) -> None:
        self._budget = budget
        self._row = row
        self.has_waited = False

    @classmethod
    def unlimited(cls) -> "Reservation":
        """For a body that is held only for a moment: it never waits."""
        return cls(ByteBudget(0), 0)

    def may_start(self) -> bool:
        """Whether the row may start a request now."""
        return self._budget.may_start(self._row)

    async def wait_to_start(self) -> None:
        """Returns when the row may start a request. Await it without a slot."""
        await self._budget.wait_to_start(self._row)

    async def grow(self, size: int, largest: int, release_slots: ReleaseSlots) -> None:
        """Returns when `size` bytes are reserved for the row.

        If they do not fit now, the row waits until `largest` bytes, all that may come, are reserved. It waits inside
        `release_slots()`, so that others can use its slots.
        """
        if not self._budget.try_reserve(self._row, size):
            self.has_waited = True
            with self._budget.waiting_body():
                async with release_slots():
                    await self._budget.reserve(self._row, largest)

    def shrink(self, size: int) -> None:
        """Reduces the reservation to `size` bytes, if it is larger."""
        self._budget.shrink(self._row, size)
