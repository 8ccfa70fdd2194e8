"""What is measured: three ways from images to their winning captions, with the same models and the same script."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from laion_coco_assets.bench.models import Models
from laion_coco_assets.bench.script import Script
from laion_coco_assets.captioning.clock import Clock


class Pipeline(Protocol):
    """A way to caption. Tells its clock of the stages `blip_image`, `blip_decoding`, `clip_l_text` and so on."""

    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        """Each image's winning caption."""


class PipelineFactory(Protocol):
    """A pipeline's class."""

    def __call__(self, models: Models, script: Script | None, clock: Clock, batch_size: int) -> Pipeline:
        """With images at once; 0 leaves the choice to the pipeline."""


def best_first(scores: Sequence[float], keep: int) -> list[int]:
    """Places of the best scores; of equal ones the earlier goes first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:keep]
