"""Runs work in threads ahead of the code that takes its results, in order and within bounds."""

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
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(items: Iterable[T], work: Callable[[T], R], *, threads: int, window: int) -> Generator[R, None, None]:
    """Yield `work(item)` for each item, in order. Later results are computed while earlier ones are in use.

    A separate thread reads the items. So after the first result, the caller waits neither for reading nor for work. An
    exception from either is raised in place of the result. If you may stop before the end, close the generator
    (`contextlib.closing`): its threads then stop.

    Args:
        items: read once, no further ahead than the window.
        work: called in threads. NumPy, Pillow and PyTorch release the GIL, so threads run at the same time.
        threads: how many work at once.
        window: how many results may be finished or in progress beyond the last one taken.
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
        except BaseException as error:  # noqa: BLE001  # raised again where the results are taken
            failed: Future[R] = Future()
            failed.set_exception(error)
            results.put(failed)
        results.put(None)

    # A daemon, so that a generator that nobody closes cannot keep the process alive.
    reader = threading.Thread(target=read, name="ahead-reader", daemon=True)
    reader.start()
    try:
        while (future := results.get()) is not None:
            result = future.result()
            del future  # it would keep the result alive while the caller uses it
            slots.release()
            yield result
            del result
    finally:
        stopped.set()
        slots.release()
        reader.join()
        pool.shutdown(wait=True, cancel_futures=True)
