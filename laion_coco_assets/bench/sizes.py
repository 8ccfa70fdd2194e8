"""Finds the fastest batch size: measures given sizes, or searches when no size is given."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from PIL import Image

from laion_coco_assets.bench.rounds import Contestant, time_once, warm_up
from laion_coco_assets.captioning.batching import is_out_of_memory, release_memory
from laion_coco_assets.errors import UserError


@dataclass(frozen=True)
class SizeRate:
    """The result of a batch size: images per second, or None and a note why. The note also names smaller batches."""

    batch_size: int
    images_per_s: float | None
    note: str = ""


Build = Callable[[int], Contestant]
"""Builds a contestant with this batch size."""


def sweep(
    build: Build, sizes: Sequence[int], images: Sequence[Image.Image], sample_ids: Sequence[str], device: torch.device
) -> list[SizeRate]:
    """Measure each size after a warm-up, over two batches or the contestant's images. A failure affects only its row."""
    return [_rate(build, size, 2, images, sample_ids, device) for size in sizes]


def climb(
    build: Build, most: int, images: Sequence[Image.Image], sample_ids: Sequence[str], device: torch.device
) -> list[SizeRate]:
    """Measure 1, 2, 4, … up to `most`, until a size does not fit or is no faster than the best before it.

    On a CPU, each size runs one batch: there is little to warm up, and a batch may take minutes.
    """
    rates: list[SizeRate] = []
    size = 1
    while size <= most:
        best = max((rate.images_per_s or 0 for rate in rates), default=0.0)
        rates.append(_rate(build, size, 1 if device.type == "cpu" else 2, images, sample_ids, device))
        if (rates[-1].images_per_s or 0) <= best:
            break
        size *= 2
    return rates


def fastest(rates: Sequence[SizeRate]) -> int | None:
    """The size of the fastest row, the first of equal ones. None when all failed."""
    rates_by_size = {rate.batch_size: rate.images_per_s for rate in rates if rate.images_per_s is not None}
    return max(rates_by_size, key=rates_by_size.__getitem__, default=None)


def _rate(
    build: Build,
    size: int,
    batches: int,
    images: Sequence[Image.Image],
    sample_ids: Sequence[str],
    device: torch.device,
) -> SizeRate:
    contestant = build(size)
    count = size if batches == 1 else max(batches * size, contestant.images)
    with _warnings() as messages:
        try:
            if batches > 1:
                warm_up(contestant, images, sample_ids, device)
            seconds = time_once(contestant, images[:count], sample_ids[:count])
            rate = SizeRate(size, 1 / sum(seconds.values()), messages[-1] if messages else "")
        except (UserError, RuntimeError, MemoryError) as error:
            if not isinstance(error, UserError) and not is_out_of_memory(error):
                raise
            rate = SizeRate(size, None, str(error) if isinstance(error, UserError) else "does not fit")
    del contestant
    release_memory(device)
    return rate


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the engine's warnings: that memory ran out, and with how many images it continued."""
    messages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), logging.getLogger("laion_coco_assets.captioning")
    logger.addHandler(listener)
    try:
        yield messages
    finally:
        logger.removeHandler(listener)
