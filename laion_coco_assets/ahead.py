"""Work done in threads ahead of whoever takes its results, in order and within bounds."""

import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_END: Final = object()


def usable_cpus() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(items: Iterable[T], work: Callable[[T], R], *, threads: int, window: int) -> Generator[R, None, None]:
    """`work(item)` for each item, in order: made while earlier ones are in use.

    Items are read in a thread of their own, so neither reading nor working is waited for once the first is there. What
    either raises is raised where that result would have come. Close the generator (`contextlib.closing`) when it may
    be left before its end: its threads then stop.

    Args:
        items: read once, no further ahead than the window.
        work: called in threads; NumPy, Pillow and PyTorch let others run meanwhile.
        threads: that work at once.
        window: results, made or in the making, beyond the one last taken.
    """
    results: SimpleQueue[Future[R] | None] = SimpleQueue()
    slots = threading.Semaphore(window)
    stopped = threading.Event()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")

    def read() -> None:
        rest = iter(items)
        try:
            while slots.acquire() and not stopped.is_set():
                item = next(rest, _END)
                if item is _END:
                    break
                results.put(pool.submit(work, item))  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001  # raised to whoever takes the results
            failed: Future[R] = Future()
            failed.set_exception(error)
            results.put(failed)
        results.put(None)

    # A daemon: a generator that nobody closes must not keep the process from ending.
    reader = threading.Thread(target=read, name="ahead-reader", daemon=True)
    reader.start()
    try:
        while (future := results.get()) is not None:
            result = future.result()
            del future  # would keep the result while it is in use
            slots.release()
            yield result
            del result
    finally:
        stopped.set()
        slots.release()
        reader.join()
        pool.shutdown(wait=True, cancel_futures=True)
