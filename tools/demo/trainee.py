"""What all models in training have in common."""

from pathlib import Path
from random import Random
from typing import Final, Protocol

from torch import Tensor, nn

from laion_coco_assets.demo.scenes import Scene

#: Pixels of the square input, by model.
SIZES: Final = {"blip": 64, "clip_l": 64, "rn50x64": 128}
#: OpenAI's CLIP normalises pixels with these.
CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)


class Trainee(Protocol):
    """A model in training."""

    @property
    def module(self) -> nn.Module:
        """Everything that is trained, including the auxiliary heads."""

    def loss(self, pixels: Tensor, cells: Tensor, scenes: list[Scene], rng: Random) -> Tensor:
        """The loss, a scalar, on pixels (batch, 3, size, size), cells (batch, 64, 3) and one scene for each image."""

    def save(self, folder: Path) -> None:
        """Write the model without its heads, in the published format."""
