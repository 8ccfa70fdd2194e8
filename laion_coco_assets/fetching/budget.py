"""How many bytes of bodies a run holds at once. Bounds memory whatever servers send and however slow the reader is."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager


class ByteBudget:
    """Bytes held between a body's first byte and the moment its row is given back. Belongs to one event loop.

    Rows are given back in order, so the row that is awaited (`head`) may always go on: whatever it needs, the run moves.
    The others start while less than `limit` is held, and hold twice that at most. A body that does not fit waits where it
    is, unread, and keeps no slot meanwhile: who has a slot waits for nobody here, so nobody can wait for one another.
    While one waits none but the head starts, so no more of them wait than there are slots.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[int, int] = {}
        self._total = 0
        self._head = 0
        self._moved = asyncio.Event()
        self._aside = 0
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap: row, bytes, its turn

    @property
    def total(self) -> int:
        return self._total

    def admits(self, row: int) -> bool:
        """Whether `row` may start a request now: one that holds room for its body already may."""
        return row <= self._head or row in self._held or (self._total < self._limit and not self._aside)

    async def admitted(self, row: int) -> None:
        """Returns when `row` may start a request."""
        while not self.admits(row):
            await self._moved.wait()

    def hold(self, row: int, size: int) -> bool:
        """Whether `row` may hold `size` bytes; if so, it does from now on."""
        more = size - self._held.get(row, 0)
        if more > 0:
            if row > self._head and self._total + more > 2 * self._limit:
                return False
            self._total += more
            self._held[row] = size
        return True

    @contextmanager
    def aside(self) -> Iterator[None]:
        """For a row that waits with a body unread, from when it gives up its slots until it has them again."""
        self._aside += 1
        try:
            yield
        finally:
            self._aside -= 1
            self._wake()

    async def room(self, row: int, size: int) -> None:
        """Returns when `row` holds `size` bytes. Of those that wait, the first row comes first."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (row, size, turn))
        await turn

    def settle(self, row: int, size: int) -> None:
        """`row` holds `size` bytes at most from now on."""
        less = self._held.get(row, 0) - size
        if less > 0:
            self._total -= less
            self._held[row] = size
            if not size:
                del self._held[row]
            self._wake()

    def advance(self, row: int) -> None:
        """Rows up to `row` were given back."""
        for each in range(self._head, row + 1):
            self._total -= self._held.pop(each, 0)
        self._head = max(self._head, row + 1)
        self._wake()

    def _wake(self) -> None:
        while self._line:
            row, size, turn = self._line[0]
            if not turn.done():  # else it was cancelled
                if not self.hold(row, size):
                    break
                turn.set_result(None)
            heapq.heappop(self._line)
        self._moved.set()
        self._moved = asyncio.Event()


class Account:
    """One row's part of a budget. `waited` is set when its body had to wait; its user unsets it."""

    def __init__(self, budget: ByteBudget, row: int) -> None:
        self._budget = budget
        self._row = row
        self.waited = False

    @classmethod
    def of_nobody(cls) -> "Account":
        """For what is held for a moment only: it never waits."""
        return cls(ByteBudget(0), 0)

    def admits(self) -> bool:
        """Whether the row may start a request now."""
        return self._budget.admits(self._row)

    async def admitted(self) -> None:
        """Returns when the row may start a request. To be awaited without a slot."""
        await self._budget.admitted(self._row)

    async def hold(self, size: int, most: int, aside: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Returns when the row may hold `size` bytes.

        If they do not fit now, it waits for room for `most`, all that may come, inside `aside()`, which gives up the
        slots that others need to go on.
        """
        if not self._budget.hold(self._row, size):
            self.waited = True
            with self._budget.aside():
                async with aside():
                    await self._budget.room(self._row, most)

    def settle(self, size: int) -> None:
        """The row holds `size` bytes at most from now on."""
        self._budget.settle(self._row, size)
