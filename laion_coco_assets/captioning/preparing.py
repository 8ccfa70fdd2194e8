"""Preprocessing in threads, ahead of the device: the next batches' pixels are made while this one is computed."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar, overload

import torch

T = TypeVar("T")


def threads_for(device: torch.device) -> int:
    """A CPU that computes has no cores to spare; beside a GPU most of them are idle."""
    return 1 if device.type == "cpu" else max(1, min(16, (os.cpu_count() or 1) - 1))


class Prepared(Sequence[torch.Tensor], Generic[T]):
    """`prepare(item)` for each item, made in threads up to `window` items ahead of the last one that was asked for.

    What lies behind the last slice is let go, so memory is that of a window, however many items there are.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, items: Sequence[T], prepare: Callable[[T], torch.Tensor], window: int
    ) -> None:
        self._pool, self._items, self._prepare, self._window = pool, items, prepare, window
        self._futures: dict[int, Future[torch.Tensor]] = {}
        self._ask(0, window)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, place: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, place: slice) -> list[torch.Tensor]: ...
    def __getitem__(self, place: int | slice) -> torch.Tensor | list[torch.Tensor]:
        if isinstance(place, int):
            return self[place : place + 1][0]
        begin, end, _ = place.indices(len(self._items))
        for behind in [each for each in self._futures if each < begin]:
            self._futures.pop(behind).cancel()
        self._ask(begin, end + self._window)
        return [self._futures[each].result() for each in range(begin, end)]

    def _ask(self, begin: int, end: int) -> None:
        for place in range(begin, min(end, len(self._items))):
            if place not in self._futures:
                self._futures[place] = self._pool.submit(self._prepare, self._items[place])


@contextmanager
def prepared(
    items: Sequence[T], prepare: Callable[[T], torch.Tensor], device: torch.device, window: int
) -> Iterator[Prepared[T]]:
    """The items' tensors as a sequence to be read forwards in slices; a slice may be read again (see `Batches`)."""
    with ThreadPoolExecutor(threads_for(device), thread_name_prefix="prepare") as pool:
        try:
            yield Prepared(pool, items, prepare, window)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def to_device(rows: Sequence[torch.Tensor], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """One tensor of all rows on the device; to a GPU through pinned memory, without waiting for the copy."""
    stacked = torch.stack(list(rows))
    if device.type == "cuda":
        return stacked.pin_memory().to(device, non_blocking=True).to(dtype)
    return stacked.to(device=device, dtype=dtype)
