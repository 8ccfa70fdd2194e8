"""What the sampler holds while it draws the captions of some images, and how much memory that needs."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from laion_coco_assets.captioning.decoder import Prefixes
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.captioning.tree import Tree


@dataclass
class Group:
    """Samples that entered together, so all their candidates are at the same step."""

    numbers: list[int]  # places of the samples in the stream
    sample_ids: list[str]
    uniforms: NDArray[np.float64]  # [samples, candidates, steps]
    tree: Tree
    logits: torch.Tensor  # [rows of the tree, vocab], for the next token
    prefixes: Prefixes
    step: int = 0


def bytes_an_image(blip: Blip, candidates: int, length: int) -> int:
    """An upper estimate of the bytes that one image needs: all candidates differ and have the maximal length.

    Args:
        blip: the model.
        candidates: how many captions are drawn per image.
        length: tokens of the longest caption, including the prompt.
    """
    text, vision = blip.model.config.text_config, blip.model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    size = torch.empty((), dtype=blip.dtype).element_size()
    tower = patches * (6 * vision.hidden_size + 2 * vision.intermediate_size) * size
    looks = 2 * text.num_hidden_layers * patches * text.hidden_size * size
    # The old cache, its chosen rows and the new cache exist at the same time for a moment.
    prefixes = 3 * candidates * 2 * text.num_hidden_layers * length * text.hidden_size * size
    filtering = candidates * text.vocab_size * (2 * size + 4 + 3 * 8)
    return int(tower + looks + max(prefixes, filtering) + min(prefixes, filtering))
