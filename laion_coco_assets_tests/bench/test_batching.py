"""Batch sizes pick themselves and back off; nothing is lost, and nothing shows in the result."""

from collections.abc import Sequence

import pytest
import torch

from laion_coco_assets.bench.engine import Engine
from laion_coco_assets.bench.images import draw_images
from laion_coco_assets.bench.models import Models
from laion_coco_assets.bench.script import draw_script
from laion_coco_assets.captioning import batching
from laion_coco_assets.captioning.batching import Batches, free_memory, pick_batch_size
from laion_coco_assets.errors import DeviceError
from laion_coco_assets_tests.bench.conftest import CPU


def fits(most: int, seen: list[int]):  # type: ignore[no-untyped-def]
    def work(batch: Sequence[int]) -> list[int]:
        seen.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [2 * each for each in batch]

    return work


def test_out_of_memory_halves_and_keeps_what_was_done() -> None:
    seen: list[int] = []
    batches = Batches(8, CPU, 1)
    assert batches.run(range(20), fits(3, seen)) == [2 * each for each in range(20)]
    assert seen[:3] == [8, 4, 2]
    assert set(seen[3:]) == {2}
    assert batches.size == 2, "the next run does not try again what did not fit"


def test_not_even_one_is_a_clear_error() -> None:
    with pytest.raises(DeviceError, match=r"has not the memory for one image .* GiB free"):
        Batches(4, CPU, 1).run(range(3), fits(0, []))


def test_other_errors_are_not_taken_for_it() -> None:
    def broken(batch: Sequence[int]) -> list[int]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        Batches(4, CPU, 1).run(range(3), broken)


def test_picks_itself_from_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory(CPU) > 1 << 20
    monkeypatch.setattr(batching, "free_memory", lambda device: 10 << 30)
    assert pick_batch_size(CPU, 2 << 30, ceiling=8) == 3
    assert pick_batch_size(CPU, 1 << 20, ceiling=8) == 8
    assert pick_batch_size(CPU, 1 << 40, ceiling=8) == 1
    cuda = torch.device("cuda", 0)
    assert Batches(0, cuda, 30 << 20).size == 204
    assert Batches(5, cuda, 30 << 20).size == 5


def test_a_sampler_that_backs_off_writes_the_same(small: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["a", "b", "c", "d", "e"]
    images, script = draw_images(5), draw_script(ids, small.words, small.blip.end_token, mean_tokens=5)
    expected = Engine(small, script, batch_size=1).run(images, ids)
    engine = Engine(small, script, batch_size=4)
    inner = engine._captioner._decoder.look

    def look(hidden: torch.Tensor):  # type: ignore[no-untyped-def]
        if len(hidden) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(hidden)

    monkeypatch.setattr(engine._captioner._decoder, "look", look)
    assert engine.run(images, ids) == expected
