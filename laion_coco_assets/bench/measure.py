"""Measuring pipelines in turn, so that a machine that slows down slows all of them down."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from laion_coco_assets.bench.clock import LapClock, peak_memory, reset_peak_memory
from laion_coco_assets.bench.pipelines import Pipeline
from laion_coco_assets.captioning.batching import release_memory


@dataclass
class Contestant:
    """A pipeline, the clock it was built with, how many images it takes at once, and how many it gets each round."""

    pipeline: Pipeline
    clock: LapClock
    batch_size: int
    images: int


@dataclass
class Measurement:
    """What came of a pipeline: one dictionary of stages (seconds an image) a round; their sum is the whole."""

    rounds: list[dict[str, float]] = field(default_factory=list)
    peak_memory_bytes: int = 0

    @property
    def stages(self) -> dict[str, float]:
        """Mean seconds an image."""
        names = dict.fromkeys(name for each in self.rounds for name in each)
        return {name: sum(each.get(name, 0.0) for each in self.rounds) / len(self.rounds) for name in names}

    @property
    def seconds_an_image(self) -> float:
        """Mean, end to end."""
        return sum(self.stages.values())

    @property
    def images_per_s(self) -> float:
        """End to end."""
        return 1 / self.seconds_an_image

    def share(self, stages: Sequence[str]) -> float:
        """Of the whole time, what these stages took."""
        return sum(self.stages.get(name, 0.0) for name in stages) / self.seconds_an_image


def measure(
    contestants: Mapping[str, Contestant],
    images: Sequence[Image.Image],
    sample_ids: Sequence[str],
    device: torch.device,
    rounds: int,
    advance: Callable[[str], None] = lambda _: None,
) -> dict[str, Measurement]:
    """Each contestant once a round, in turn; `advance` is called with its name after each."""
    result: dict[str, Measurement] = defaultdict(Measurement)
    for _ in range(rounds):
        for name, each in contestants.items():
            reset_peak_memory(device)
            seconds = time_once(each, images[: each.images], sample_ids[: each.images])
            result[name].rounds.append(seconds)
            result[name].peak_memory_bytes = max(result[name].peak_memory_bytes, peak_memory(device))
            release_memory(device)
            advance(name)
    return dict(result)


def warm_up(
    contestant: Contestant, images: Sequence[Image.Image], sample_ids: Sequence[str], device: torch.device
) -> None:
    """A batch of the size that is measured: kernels are chosen by shape. Its memory is given back."""
    count = min(contestant.batch_size, contestant.images)
    time_once(contestant, images[:count], sample_ids[:count])
    release_memory(device)


def time_once(contestant: Contestant, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> dict[str, float]:
    """Seconds an image of each stage."""
    contestant.clock.start()
    contestant.pipeline.run(images, sample_ids)
    return {name: seconds / len(images) for name, seconds in contestant.clock.stop().items()}
