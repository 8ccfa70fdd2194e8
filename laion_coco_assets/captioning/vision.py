"""Turns images into the states that BLIP's decoder reads: preprocessing, and the vision tower with fused attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from laion_coco_assets.captioning.attention import attend


@dataclass(frozen=True)
class ImagePreprocessing:
    """The input of BLIP's vision tower: the image resized to a square (its aspect ratio is lost), then normalised."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Image.Resampling

    def __call__(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Float32 [images, 3, size, size] on the CPU. Contiguous, or a copy to a GPU would go through unpinned memory."""
        pixels = np.empty((len(images), self.size, self.size, 3), dtype=np.uint8)
        for place, image in zip(pixels, images, strict=True):
            place[:] = np.asarray(image.convert("RGB").resize((self.size, self.size), self.resample))
        scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(torch.float32) / 255
        return (scaled - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)


def encode_images(vision_model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The last hidden states of transformers' `BlipVisionModel`: its own modules, with faster attention.

    Args:
        vision_model: a `BlipVisionModel`.
        pixels: [images, 3, size, size] on its device.

    Returns:
        [images, patches + 1, hidden], in the model's dtype.
    """
    hidden: torch.Tensor = vision_model.embeddings(pixels)
    images, patches, width = hidden.shape
    for layer in vision_model.encoder.layers:
        attention = layer.self_attn
        heads = (images, patches, 3, attention.num_heads, attention.head_dim)
        queries, keys, values = attention.qkv(layer.layer_norm1(hidden)).view(heads).permute(2, 0, 3, 1, 4)
        context = attend(queries, keys, values)
        hidden = hidden + attention.projection(context.transpose(1, 2).reshape(images, patches, width))
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    return vision_model.post_layernorm(hidden)  # type: ignore[no-any-return]
