"""Counts the arithmetic of the three image towers, and measures the most that the device can do."""

import time
from typing import Any, Final

import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from laion_coco_assets.bench.lap_clock import synchronise
from laion_coco_assets.bench.measured_models import Models

#: How long the matrix product is repeated, in seconds.
_MATMUL_S: Final = 1.0


def tower_tflop(models: Models) -> float:
    """TFLOP (a multiplication and an addition are two) of one image through the three image towers."""
    towers = [
        (models.blip.model.vision_model, models.blip.preprocessing.size),
        (models.clip_l.model.visual, _side(models.clip_l.model.visual.image_size)),
        (models.rn50x64.model.visual, _side(models.rn50x64.model.visual.image_size)),
    ]
    return sum(_count(tower, side) for tower, side in towers) / 1e12


def matmul_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """The best rate of a square matrix product, in TFLOP/s: the device's practical upper bound."""
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    begun = time.perf_counter()
    while best == float("inf") or time.perf_counter() - begun < _MATMUL_S:
        synchronise(device)
        started = time.perf_counter()
        for _ in range(10 if device.type == "cuda" else 1):
            torch.mm(left, right)
        synchronise(device)
        best = min(best, (time.perf_counter() - started) / (10 if device.type == "cuda" else 1))
    return 2 * size**3 / best / 1e12


def _count(tower: Any, side: int) -> int:
    """Count the operations without computing: on tensors that have shapes but no values."""
    state = {**dict(tower.named_parameters()), **dict(tower.named_buffers())}
    shapes = {
        name: torch.empty_like(tensor, device="meta", dtype=_meta_dtype(tensor)) for name, tensor in state.items()
    }
    pixels = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(tower, shapes, (pixels,))
    return int(counter.get_total_flops())


def _meta_dtype(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype


def _side(size: Any) -> int:
    return int(size[0] if isinstance(size, (tuple, list)) else size)
