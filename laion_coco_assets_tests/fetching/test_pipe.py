"""Rows to a loop's thread and back: in order, in batches, and a reader never waits for a loop that has ended."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from laion_coco_assets.fetching.pipe import ClosedError, RowPipe


@contextmanager
def looping() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def taken(pipe: RowPipe[int, int], count: int) -> list[list[int]]:
    batches: list[list[int]] = []
    while sum(map(len, batches)) < count:
        batches.append([task.result() for task in pipe.take()])
    return batches


def test_results_keep_the_order_whatever_ends_first():
    last = asyncio.Event()

    async def work(row: int, item: int) -> int:
        if row == 99:
            last.set()
        if row % 2 == 0:
            await last.wait()
        return item

    with looping() as loop:
        pipe = RowPipe(loop, work, lambda _: None, batch=7)
        for start in range(0, 100, 10):
            pipe.submit(range(start, start + 10))
        batches = taken(pipe, 100)
        pipe.cancel()
    assert [item for batch in batches for item in batch] == list(range(100))
    assert max(map(len, batches)) <= 7


def test_finished_rows_are_handed_over_in_full_batches_and_released_with_the_next_request():
    async def work(row: int, item: int) -> int:
        return item

    returned: list[int] = []
    with looping() as loop:
        pipe = RowPipe(loop, work, returned.append, batch=8)
        pipe.submit(range(20))
        assert [len(batch) for batch in taken(pipe, 20)] == [8, 8, 4]
        pipe.cancel()
    assert returned == [7, 15]


def test_a_row_does_not_wait_for_a_batch_that_is_never_full():
    async def work(row: int, item: int) -> int:
        if row:
            await asyncio.Event().wait()
        return item

    with looping() as loop:
        pipe = RowPipe(loop, work, lambda _: None, batch=8)
        pipe.submit(range(3))
        assert taken(pipe, 1) == [[0]]
        pipe.cancel()


def test_an_error_is_raised_in_its_rows_place():
    async def work(row: int, item: int) -> int:
        return 10 // item

    with looping() as loop:
        pipe = RowPipe(loop, work, lambda _: None, batch=8)
        pipe.submit([5, 0, 2])
        first, second, third = pipe.take()
        pipe.cancel()
    assert (first.result(), third.result()) == (2, 5)
    with pytest.raises(ZeroDivisionError):
        second.result()


def test_a_reader_never_waits_for_a_loop_that_has_ended():
    begun = threading.Event()

    async def work(row: int, item: int) -> int:
        begun.set()
        await asyncio.Event().wait()
        return item

    raised: list[str] = []

    def read(pipe: RowPipe[int, int]) -> None:
        try:
            pipe.take()
        except ClosedError:
            raised.append("while it waited")

    with looping() as loop:
        pipe = RowPipe(loop, work, lambda _: None, batch=8)
        pipe.submit([1])
        reader = threading.Thread(target=read, args=(pipe,))
        reader.start()
        assert begun.wait(60)
    pipe.close()
    reader.join(60)
    assert raised == ["while it waited"]
    with pytest.raises(ClosedError):
        pipe.take()
    pipe.cancel()
