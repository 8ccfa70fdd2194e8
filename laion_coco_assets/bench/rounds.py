"""Measures pipelines in turn, round by round, so that a machine that slows down slows down all of them."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from laion_coco_assets.bench.lap_clock import LapClock
from laion_coco_assets.bench.peak_memory import peak_memory, reset_peak_memory
from laion_coco_assets.bench.pipelines import Pipeline
from laion_coco_assets.captioning.batching import release_memory


@dataclass
class Contestant:
    """A pipeline, the clock it was built with, its batch size, and how many images it gets each round."""

    pipeline: Pipeline
    clock: LapClock
    batch_size: int
    images: int


@dataclass
class Measurement:
    """A pipeline's results: for each round, the seconds per image of each stage. Their sum is the whole time."""

    rounds: list[dict[str, float]] = field(default_factory=list)
    peak_memory_bytes: int = 0

    @property
    def stages(self) -> dict[str, float]:
        """Mean seconds per image of each stage."""
        names = dict.fromkeys(name for stages in self.rounds for name in stages)
        return {name: sum(stages.get(name, 0.0) for stages in self.rounds) / len(self.rounds) for name in names}

    @property
    def seconds_an_image(self) -> float:
        """Mean seconds per image, end to end."""
        return sum(self.stages.values())

    @property
    def images_per_s(self) -> float:
        """Images per second, end to end."""
        return 1 / self.seconds_an_image

    def share(self, stages: Sequence[str]) -> float:
        """The share of these stages in the whole time."""
        return sum(self.stages.get(name, 0.0) for name in stages) / self.seconds_an_image


def measure(
    contestants: Mapping[str, Contestant],
    images: Sequence[Image.Image],
    sample_ids: Sequence[str],
    device: torch.device,
    rounds: int,
    advance: Callable[[], None],
) -> dict[str, Measurement]:
    """Measure each contestant once per round, in turn. `advance` is called after each."""
    result: dict[str, Measurement] = defaultdict(Measurement)
    for _ in range(rounds):
        for name, contestant in contestants.items():
            reset_peak_memory(device)
            seconds = time_once(contestant, images[: contestant.images], sample_ids[: contestant.images])
            result[name].rounds.append(seconds)
            result[name].peak_memory_bytes = max(result[name].peak_memory_bytes, peak_memory(device))
            release_memory(device)
            advance()
    return dict(result)


def warm_up(
    contestant: Contestant, images: Sequence[Image.Image], sample_ids: Sequence[str], device: torch.device
) -> None:
    """Run a batch of the measured size, since kernels are chosen by shape. Its memory is freed."""
    count = min(contestant.batch_size, contestant.images)
    time_once(contestant, images[:count], sample_ids[:count])
    release_memory(device)


def time_once(contestant: Contestant, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> dict[str, float]:
    """Seconds per image of each stage."""
    contestant.clock.start()
    contestant.pipeline.run(images, sample_ids)
    return {name: seconds / len(images) for name, seconds in contestant.clock.stop().items()}
