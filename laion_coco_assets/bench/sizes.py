"""Which batch size is fastest: tables over given sizes, and a search for who leaves the choice to the benchmark."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from PIL import Image

from laion_coco_assets.bench.measure import Contestant, time_once, warm_up
from laion_coco_assets.captioning.batching import is_out_of_memory, release_memory
from laion_coco_assets.errors import UserError


@dataclass(frozen=True)
class SizeRate:
    """What came of a batch size: images a second, or None and why; `note` also says when smaller batches were run."""

    batch_size: int
    images_per_s: float | None
    note: str = ""


Build = Callable[[int], Contestant]
"""A contestant with so many images at once."""


def sweep(
    build: Build, sizes: Sequence[int], images: Sequence[Image.Image], sample_ids: Sequence[str], device: torch.device
) -> list[SizeRate]:
    """Each size after a warm-up, over the images that `build` gives it or two batches. What fails ends its own row."""
    return [_rate(build, size, 2, images, sample_ids, device) for size in sizes]


def climb(
    build: Build, most: int, images: Sequence[Image.Image], sample_ids: Sequence[str], device: torch.device
) -> list[SizeRate]:
    """1, 2, 4, … up to `most`, until one is no faster than the best before it or does not fit.

    On a CPU one batch of each: there is little to warm up, and a batch may take minutes.
    """
    rates: list[SizeRate] = []
    size = 1
    while size <= most:
        best = max((each.images_per_s or 0 for each in rates), default=0.0)
        rates.append(_rate(build, size, 1 if device.type == "cpu" else 2, images, sample_ids, device))
        if (rates[-1].images_per_s or 0) <= best:
            break
        size *= 2
    return rates


def fastest(rates: Sequence[SizeRate]) -> int | None:
    """The best row's size, of equals the first; None when all failed."""
    rates_by_size = {each.batch_size: each.images_per_s for each in rates if each.images_per_s is not None}
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
    with _warnings() as heard:
        try:
            if batches > 1:
                warm_up(contestant, images, sample_ids, device)
            seconds = time_once(contestant, images[:count], sample_ids[:count])
            found = SizeRate(size, 1 / sum(seconds.values()), heard[-1] if heard else "")
        except (UserError, RuntimeError, MemoryError) as error:
            if not isinstance(error, UserError) and not is_out_of_memory(error):
                raise
            found = SizeRate(size, None, str(error) if isinstance(error, UserError) else "does not fit")
    del contestant
    release_memory(device)
    return found


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What the engine warns of meanwhile: that memory ran out, and with how many images it went on."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), logging.getLogger("laion_coco_assets.captioning")
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
