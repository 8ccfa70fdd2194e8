"""From images on the host to pixels on the device."""

from collections.abc import Sequence

import torch

from laion_coco_assets.ahead import usable_cpus


def threads_for(device: torch.device) -> int:
    """How many threads prepare images: a CPU that computes has no cores to spare; beside a GPU most of them are idle."""
    return 1 if device.type == "cpu" else max(1, min(16, usable_cpus() - 1))


def for_device(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same on the host, in pinned memory where the device is a GPU: `to_device` then need not wait for the copy."""
    if device.type != "cuda":
        return pixels
    with torch.cuda.device(device):  # a thread's own is the first GPU otherwise
        return pixels.pin_memory()


def to_device(rows: Sequence[torch.Tensor], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """One tensor of all rows on the device. Row by row: put together on the host, a large batch would be copied twice."""
    pixels = torch.empty((len(rows), *rows[0].shape), device=device, dtype=rows[0].dtype)
    for place, row in zip(pixels, rows, strict=True):
        place.copy_(row, non_blocking=True)
    return pixels.to(dtype)
