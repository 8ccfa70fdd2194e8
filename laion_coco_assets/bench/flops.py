"""Arithmetic of the three image towers, counted and not looked up."""

from typing import Any

import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from laion_coco_assets.bench.models import Models


def tower_tflop(models: Models) -> float:
    """TFLOP (a multiplication and an addition are two) of one image through the three image towers."""
    towers = [
        (models.blip.model.vision_model, models.blip.preprocessing.size),
        (models.clip_l.model.visual, _side(models.clip_l.model.visual.image_size)),
        (models.rn50x64.model.visual, _side(models.rn50x64.model.visual.image_size)),
    ]
    return sum(_count(tower, side) for tower, side in towers) / 1e12


def _count(tower: Any, side: int) -> int:
    """Without doing it: on tensors that have shapes and no values."""
    state = {**dict(tower.named_parameters()), **dict(tower.named_buffers())}
    shapes = {name: torch.empty_like(each, device="meta", dtype=_meta_dtype(each)) for name, each in state.items()}
    pixels = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(tower, shapes, (pixels,))
    return int(counter.get_total_flops())


def _meta_dtype(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype


def _side(size: Any) -> int:
    return int(size[0] if isinstance(size, (tuple, list)) else size)
