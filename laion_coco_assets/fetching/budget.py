"""How many bytes of bodies a run holds at once. Bounds memory whatever servers send and however slow the reader is."""

import asyncio


class OverBudgetError(Exception):
    """Too much is held: let go of everything, come back through `admitted`, and start over."""


class ByteBudget:
    """Bytes held between a body's first byte and the moment its row is given back. Belongs to one event loop.

    Rows are given back in order, so the row that is awaited (`head`) may always go on: whatever it needs, the run moves.
    The others start while less than `limit` is held, and start over when it comes to twice that. Nobody waits here
    while holding a slot, so nobody can wait for one another.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[int, int] = {}
        self._total = 0
        self._head = 0
        self._moved = asyncio.Event()

    @property
    def total(self) -> int:
        return self._total

    async def admitted(self, row: int) -> None:
        """Returns when `row` may start a request."""
        while row > self._head and self._total >= self._limit:
            await self._moved.wait()

    def hold(self, row: int, size: int) -> None:
        """`row` holds `size` bytes now, or is about to. Raises OverBudgetError if that is too much, and drops its bytes."""
        self._total += size - self._held.get(row, 0)
        self._held[row] = size
        if row > self._head and self._total > 2 * self._limit:
            self.drop(row)
            raise OverBudgetError

    def drop(self, row: int) -> None:
        """`row` holds nothing any more."""
        self._total -= self._held.pop(row, 0)
        self._wake()

    def advance(self, row: int) -> None:
        """Rows up to `row` were given back."""
        for each in range(self._head, row + 1):
            self._total -= self._held.pop(each, 0)
        self._head = max(self._head, row + 1)
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
