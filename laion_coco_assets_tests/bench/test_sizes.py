"""Batch sizes: the search stops where nothing is gained, a row that fails is that row's end, warm-ups are of real size."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from laion_coco_assets.bench.benchmark import BenchSettings, run_bench
from laion_coco_assets.bench.engine import Engine
from laion_coco_assets.bench.input_images import draw_images
from laion_coco_assets.bench.lap_clock import LapClock
from laion_coco_assets.bench.measured_models import Models, Size
from laion_coco_assets.bench.rounds import Contestant, warm_up
from laion_coco_assets.bench.script import draw_script
from laion_coco_assets.bench.sizes import SizeRate, climb, fastest, sweep
from laion_coco_assets.errors import UserError
from laion_coco_assets_tests.bench.conftest import CPU

IMAGES = draw_images(8)
IDS = [f"{place}" for place in range(8)]


class Timetable(LapClock):
    """A clock that reads what a timetable says of the batch size, and a pipeline that needs that long."""

    def __init__(self, batch_size: int, seconds: dict[int, float], ran: list[tuple[int, int]]) -> None:
        super().__init__(CPU)
        self._batch_size, self._seconds, self._ran, self._images = batch_size, seconds, ran, 0

    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        if self._batch_size not in self._seconds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self._ran.append((self._batch_size, len(images)))
        self._images = len(images)
        return list(sample_ids)

    def stop(self) -> dict[str, float]:
        return {"other": self._seconds[self._batch_size] * self._images}


def contestants(seconds: dict[int, float], ran: list[tuple[int, int]]):  # type: ignore[no-untyped-def]
    def build(size: int) -> Contestant:
        table = Timetable(size, seconds, ran)
        return Contestant(table, table, size, 3)

    return build


@pytest.mark.parametrize(
    ("seconds", "tried", "best"),
    [
        ({1: 4.0, 2: 3.0, 4: 3.5, 8: 1.0}, [1, 2, 4], 2),  # stops where it became slower
        ({1: 4.0, 2: 3.0, 4: 2.5, 8: 2.0}, [1, 2, 4, 8], 8),  # no more images than there are
        ({1: 4.0, 2: 3.0}, [1, 2, 4], 2),  # four do not fit
        ({1: 4.0, 2: 4.0}, [1, 2], 1),
        ({}, [1], None),
    ],
)
def test_the_search_for_the_fastest_size(seconds: dict[int, float], tried: list[int], best: int | None) -> None:
    ran: list[tuple[int, int]] = []
    rates = climb(contestants(seconds, ran), 8, IMAGES, IDS, CPU)
    assert [each.batch_size for each in rates] == tried
    assert {each.batch_size: each.note for each in rates if each.images_per_s is None} == {
        size: "does not fit" for size in tried if size not in seconds
    }
    assert fastest(rates) == best
    assert ran == [(size, size) for size in tried if size in seconds], "a batch of each"


def test_a_sweep_warms_up_with_a_batch_and_measures_two_at_least() -> None:
    ran: list[tuple[int, int]] = []
    rates = sweep(contestants({1: 0.5, 4: 0.25}, ran), [1, 4], IMAGES, IDS, CPU)
    assert rates == [SizeRate(1, 2.0), SizeRate(4, 4.0)]
    assert ran == [(1, 1), (1, 3), (4, 3), (4, 8)], "three is what these contestants get each round"


def test_a_row_tells_that_the_engine_backed_off_and_ends_alone_when_nothing_fits(
    small: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, most = draw_script(IDS, small.words, small.blip.end_token, mean_tokens=5, mean_distinct=3), [2]

    def build(size: int) -> Contestant:
        clock = LapClock(CPU)
        engine = Engine(small, script, clock, size)
        inner = engine._captioner._decoder.look

        def look(hidden: torch.Tensor):  # type: ignore[no-untyped-def]
            if len(hidden) > most[0]:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return inner(hidden)

        monkeypatch.setattr(engine._captioner._decoder, "look", look)
        return Contestant(engine, clock, size, 2)

    within, beyond = sweep(build, [2, 4], IMAGES, IDS, CPU)
    assert (within.note, within.images_per_s is not None) == ("", True)
    assert beyond.note.endswith("ran out of memory with 4 images at once; continuing with 2")
    assert beyond.images_per_s is not None
    most[0] = 0
    (none,) = sweep(build, [1], IMAGES, IDS, CPU)
    assert none.images_per_s is None
    assert "does not have enough memory for one image" in none.note


def test_what_is_no_lack_of_memory_ends_the_sweep() -> None:
    def build(size: int) -> Contestant:
        contestant = contestants({}, [])(size)
        contestant.pipeline.run = lambda *_: 1 / 0
        return contestant

    with pytest.raises(ZeroDivisionError):
        sweep(build, [1], IMAGES, IDS, CPU)


def test_warm_up_is_a_batch_of_the_measured_size() -> None:
    ran: list[tuple[int, int]] = []
    table = Timetable(4, {4: 1.0}, ran)
    warm_up(Contestant(table, table, 4, 6), IMAGES, IDS, CPU)
    warm_up(Contestant(table, table, 4, 2), IMAGES, IDS, CPU)
    assert ran == [(4, 4), (4, 2)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"pipelines": ("plain",)}, "must contain engine, and may contain plain and worker; engine is missing$"),
        ({"pipelines": ("engine", "fast")}, "must contain engine, and may contain plain and worker; fast is unknown$"),
        ({"count": 8, "baseline_sweep": (1, 2), "baseline_batch_size": 4}, "--baseline-batch-size sets it: give one$"),
    ],
)
def test_impossible_flags_say_what_to_give(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_bench(BenchSettings(size=Size.SMALL, **flags), Console(quiet=True), Console(quiet=True))


@pytest.mark.parametrize("flag", ["sweep", "baseline_sweep"])
def test_a_sweep_needs_two_batches_of_images(flag: str) -> None:
    settings = BenchSettings(count=15, **{flag: (1, 8)})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"--{flag.replace('_', '-')}: two batches of 8 .* set --count to 16 or more"):
        run_bench(settings, Console(quiet=True), Console(quiet=True))
