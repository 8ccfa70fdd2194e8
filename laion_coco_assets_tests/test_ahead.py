"""Work ahead of its taker: in order, bounded, over when it is left, and errors where their results would have been."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from laion_coco_assets.ahead import ahead

WAIT_S = 30


def test_order_is_kept_whoever_is_done_first() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(WAIT_S)
        if item == 1:
            second_is_done.set()
        return 2 * item

    assert list(ahead(range(20), work, threads=2, window=4)) == [2 * each for each in range(20)]
    assert list(ahead([], work, threads=2, window=4)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_the_window_is_read_and_it_fills_while_a_result_is_in_use(threads: int) -> None:
    """Each result is used until all that may be made beside it has been made: without waiting for anything else."""
    window, read = 5, list[int]()
    made, full = list[int](), threading.Condition()

    def items() -> Iterator[int]:
        for item in range(40):
            read.append(item)
            yield item

    def work(item: int) -> int:
        with full:
            made.append(item)
            full.notify_all()
        return item

    with closing(ahead(items(), work, threads=threads, window=window)) as results:
        for item in results:
            beyond = min(item + 1 + window, 40)
            with full:
                assert full.wait_for(lambda wanted=beyond: len(made) == wanted, WAIT_S)
            assert len(read) <= beyond
    assert sorted(made) == list(range(40)), "each once"


def test_an_error_of_the_work_is_raised_where_its_result_would_have_come() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise OSError(f"item {item}")
        return item

    results = ahead(range(10), work, threads=2, window=8)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="item 3"):
        next(results)


def test_an_error_of_the_source_is_raised_behind_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise OSError("the file ends here")

    results = ahead(items(), lambda item: item, threads=2, window=8)
    assert next(results) == 0
    with pytest.raises(OSError, match="the file ends here"):
        next(results)


def test_its_threads_end_with_it() -> None:
    before = set(threading.enumerate())
    with closing(ahead(iter(range(1000)), lambda item: item, threads=3, window=4)) as results:
        assert next(results) == 0
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) <= before
