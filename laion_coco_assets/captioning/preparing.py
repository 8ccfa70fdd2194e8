"""From images on the host to pixels on the device."""

from collections.abc import Sequence

import torch

from laion_coco_assets.ahead import usable_cpus


def threads_for(device: torch.device) -> int:
    """How many threads prepare images. A CPU that runs the model has no cores to spare; with a GPU, most cores are idle."""
    return 1 if device.type == "cpu" else max(1, min(16, usable_cpus() - 1))


def for_device(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same pixels on the host; for a GPU in pinned memory, so that `to_device` does not wait for the copy."""
    if device.type != "cuda":
        return pixels
    with torch.cuda.device(device):  # otherwise a new thread uses the first GPU
        return pixels.pin_memory()


def to_device(rows: Sequence[torch.Tensor], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """All rows as one tensor on the device. Copied row by row: stacking a large batch on the host would copy it twice."""
    pixels = torch.empty((len(rows), *rows[0].shape), device=device, dtype=rows[0].dtype)
    for place, row in zip(pixels, rows, strict=True):
        place.copy_(row, non_blocking=True)
    return pixels.to(dtype)
