"""Rows over to the event loop's thread and their results back, in batches: each wake-up of another thread costs.

The threads wait for one another once a batch, not twice a row.
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


class Exchange(Generic[From, To]):
    """Runs `work(row, item)` for every item in `loop`, and gives one reader the results in the order of the items.

    At most `batch` results go over at once. `given_back(row)` is called, in the loop, when the reader asks for more and
    so is through with the rows up to `row`. What `work` raises is raised to the reader in its row's place.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[int, From], Coroutine[Any, Any, To]],
        given_back: Callable[[int], None],
        batch: int,
    ) -> None:
        self._loop = loop
        self._work = work
        self._given_back = given_back
        self._batch = batch
        self._closed = False
        # The reader's own, and what it waits for: the loop's thread answers.
        self._taken = 0
        self._asked: Future[deque[asyncio.Task[To]]] | None = None
        self._ending: Future[None] | None = None
        # The loop's own.
        self._started = 0
        self._running: set[asyncio.Task[To]] = set()
        self._early: dict[int, asyncio.Task[To]] = {}  # ended before a row in front of them
        self._ready: deque[asyncio.Task[To]] = deque()  # ended, as all in front of them
        self._following = 0  # the row behind those
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, items: Sequence[From]) -> None:
        """From the reader's thread: more items. Raises ClosedError."""
        self._call(self._start, items)

    def take(self) -> "deque[asyncio.Task[To]]":
        """From the reader's thread: the next results, at least one, as tasks that have ended. Waits for them.

        Something that was submitted must not have been taken yet. Raises ClosedError.
        """
        asked: Future[deque[asyncio.Task[To]]] = Future()
        self._asked = asked
        self._call(self._ask, self._taken - 1)
        ended = asked.result()
        if any(task.cancelled() for task in ended):
            raise ClosedError
        self._taken += len(ended)
        return ended

    def end(self) -> None:
        """From the reader's thread: cancels what is still under way and returns when all of it is gone."""
        with suppress(ClosedError):
            self._ending = ending = Future[None]()
            self._call(lambda: self._loop.create_task(self._cancel(ending)))
            ending.result()

    def close(self) -> None:
        """When the loop runs no more: a reader that waits, or comes later, gets a ClosedError."""
        self._closed = True
        for future in (self._asked, self._ending):
            if future is not None and not future.done():
                future.set_exception(ClosedError())

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        # `close` sets the flag and then looks for questions; the reader asks and then looks at the flag. One sees the other.
        if self._closed:
            raise ClosedError
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed, and `close` about to be called
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
        while (following := self._early.pop(self._following, None)) is not None:
            self._ready.append(following)
            self._following += 1
        self._answer_in_time()

    def _ask(self, given_back: int) -> None:
        if given_back >= 0:
            self._given_back(given_back)
        self._answer_in_time()

    def _answer_in_time(self) -> None:
        if self._asked is None or not self._ready:
            return
        if len(self._ready) >= self._batch or not self._running:
            self._answer()
        elif self._timer is None:
            self._timer = self._loop.call_later(_LINGER_S, self._answer)

    def _answer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.set_result(deque(self._ready.popleft() for _ in range(min(self._batch, len(self._ready)))))

    async def _cancel(self, ending: "Future[None]") -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        ending.set_result(None)
