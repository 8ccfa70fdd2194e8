"""Rows over to a loop's thread and back: in order, in batches, and a reader never waits for a loop that is gone."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from laion_coco_assets.fetching.exchange import ClosedError, Exchange


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


def taken(exchange: Exchange[int, int], count: int) -> list[list[int]]:
    batches: list[list[int]] = []
    while sum(map(len, batches)) < count:
        batches.append([task.result() for task in exchange.take()])
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
        exchange = Exchange(loop, work, lambda _: None, batch=7)
        for start in range(0, 100, 10):
            exchange.submit(range(start, start + 10))
        batches = taken(exchange, 100)
        exchange.end()
    assert [item for batch in batches for item in batch] == list(range(100))
    assert max(map(len, batches)) <= 7


def test_rows_that_are_there_go_over_in_full_batches_and_are_given_back_with_the_next_question():
    async def work(row: int, item: int) -> int:
        return item

    given_back: list[int] = []
    with looping() as loop:
        exchange = Exchange(loop, work, given_back.append, batch=8)
        exchange.submit(range(20))
        assert [len(batch) for batch in taken(exchange, 20)] == [8, 8, 4]
        exchange.end()
    assert given_back == [7, 15]


def test_a_row_does_not_wait_for_a_batch_that_is_never_full():
    async def work(row: int, item: int) -> int:
        if row:
            await asyncio.Event().wait()
        return item

    with looping() as loop:
        exchange = Exchange(loop, work, lambda _: None, batch=8)
        exchange.submit(range(3))
        assert taken(exchange, 1) == [[0]]
        exchange.end()


def test_an_error_is_raised_in_its_rows_place():
    async def work(row: int, item: int) -> int:
        return 10 // item

    with looping() as loop:
        exchange = Exchange(loop, work, lambda _: None, batch=8)
        exchange.submit([5, 0, 2])
        first, second, third = exchange.take()
        exchange.end()
    assert (first.result(), third.result()) == (2, 5)
    with pytest.raises(ZeroDivisionError):
        second.result()


def test_a_reader_never_waits_for_a_loop_that_is_gone():
    begun = threading.Event()

    async def work(row: int, item: int) -> int:
        begun.set()
        await asyncio.Event().wait()
        return item

    raised: list[str] = []

    def read(exchange: Exchange[int, int]) -> None:
        try:
            exchange.take()
        except ClosedError:
            raised.append("while it waited")

    with looping() as loop:
        exchange = Exchange(loop, work, lambda _: None, batch=8)
        exchange.submit([1])
        reader = threading.Thread(target=read, args=(exchange,))
        reader.start()
        assert begun.wait(60)
    exchange.close()
    reader.join(60)
    assert raised == ["while it waited"]
    with pytest.raises(ClosedError):
        exchange.take()
    exchange.end()
