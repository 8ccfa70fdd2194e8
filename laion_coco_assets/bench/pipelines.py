"""What the benchmark measures: three pipelines from images to winning captions, with the same models and script."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from laion_coco_assets.bench.measured_models import Models
from laion_coco_assets.bench.script import Script
from laion_coco_assets.captioning.clock import Clock


class Pipeline(Protocol):
    """A way to caption images. Its clock times the stages `blip_image`, `blip_decoding`, `clip_l_text` and so on."""

    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        """Each image's winning caption."""


class PipelineFactory(Protocol):
    """The class of a pipeline."""

    def __call__(self, models: Models, script: Script | None, clock: Clock, batch_size: int) -> Pipeline:
        """Build it with `batch_size` images per batch; 0 leaves the choice to the pipeline."""


def best_first(scores: Sequence[float], keep: int) -> list[int]:
    """The places of the `keep` best scores, best first; the earlier of two equal ones first."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:keep]
