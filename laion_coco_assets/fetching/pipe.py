"""Rows to an event loop in another thread and their results back, in batches: each wake-up of another thread costs.

The threads wait for one another once per batch, not twice per row.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

From = TypeVar("From")
To = TypeVar("To")

#: How long a result waits for others to go with it. Bounds what batches cost when rows end one by one.
_LINGER_S: Final = 0.01


class ClosedError(Exception):
    """The loop's thread has ended, or is about to."""


class RowPipe(Generic[From, To]):
    """Runs `work(row, item)` for every item in `loop`, and gives one reader the results in the order of the items.

    At most `batch` results are handed over at once. `on_returned(row)` is called, in the loop, when the reader asks for
    more and so needs the rows up to `row` no longer. What `work` raises is raised to the reader in its row's place.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[int, From], Coroutine[Any, Any, To]],
        on_returned: Callable[[int], None],
        batch: int,
    ) -> None:
        self._loop = loop
        self._work = work
        self._on_returned = on_returned
        self._batch = batch
        self._closed = False
        # The reader's own, and the futures that it waits for: the loop's thread sets them.
        self._taken = 0
        self._wanted: Future[deque[asyncio.Task[To]]] | None = None
        self._cancelled: Future[None] | None = None
        # The loop's own.
        self._started = 0
        self._running: set[asyncio.Task[To]] = set()
        self._early: dict[int, asyncio.Task[To]] = {}  # ended before an earlier row
        self._ready: deque[asyncio.Task[To]] = deque()  # ended, as all earlier rows have
        self._next_row = 0  # the row after those
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, items: Sequence[From]) -> None:
        """From the reader's thread: more items. Raises ClosedError."""
        self._call(self._start, items)

    def take(self) -> "deque[asyncio.Task[To]]":
        """From the reader's thread: the next results, at least one, as tasks that have ended. Waits for them.

        At least one submitted item must not have been taken yet. Raises ClosedError.
        """
        wanted: Future[deque[asyncio.Task[To]]] = Future()
        self._wanted = wanted
        self._call(self._want, self._taken - 1)
        results = wanted.result()
        if any(task.cancelled() for task in results):
            raise ClosedError
        self._taken += len(results)
        return results

    def cancel(self) -> None:
        """From the reader's thread: cancels what is still under way. Returns when all of it has ended."""
        with suppress(ClosedError):
            self._cancelled = cancelled = Future[None]()
            self._call(lambda: self._loop.create_task(self._cancel(cancelled)))
            cancelled.result()

    def close(self) -> None:
        """When the loop runs no more: a reader that waits, or comes later, gets a ClosedError."""
        self._closed = True
        for future in (self._wanted, self._cancelled):
            if future is not None and not future.done():
                future.set_exception(ClosedError())

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        # `close` sets the flag and then looks for futures; the reader sets its future and then looks at the flag. So one
        # of them sees the other.
        if self._closed:
            raise ClosedError
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed, and `close` is about to be called
            raise ClosedError from None

    def _start(self, items: Sequence[From]) -> None:
        for item in items:
            task = self._loop.create_task(self._work(self._started, item))
            task.add_done_callback(partial(self._ended, self._started))
            self._running.add(task)
            self._started += 1

    def _ended(self, row: int, task: "asyncio.Task[To]") -> None:
        self._running.discard(task)
        self._early[row] = task
        while (following := self._early.pop(self._next_row, None)) is not None:
            self._ready.append(following)
            self._next_row += 1
        self._deliver_soon()

    def _want(self, returned: int) -> None:
        if returned >= 0:
            self._on_returned(returned)
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._wanted is None or not self._ready:
            return
        if len(self._ready) >= self._batch or not self._running:
            self._deliver()
        elif self._timer is None:
            self._timer = self._loop.call_later(_LINGER_S, self._deliver)

    def _deliver(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.set_result(deque(self._ready.popleft() for _ in range(min(self._batch, len(self._ready)))))

    async def _cancel(self, cancelled: "Future[None]") -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        cancelled.set_result(None)
