"""Batch sizes pick themselves and back off; nothing is lost, and nothing shows in the result."""

import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from laion_coco_assets.bench.engine import Engine
from laion_coco_assets.bench.input_images import draw_images
from laion_coco_assets.bench.measured_models import Models
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


def test_it_grows_again_when_there_is_memory_and_tries_ever_more_seldom_when_there_is_none() -> None:
    batches, seen = Batches(8, CPU, 1), list[int]()
    batches.run(range(8), fits(2, []))
    assert (batches.size, batches.backed_off) == (2, 2)
    assert batches.run(range(1000), fits(2, seen)) == [2 * each for each in range(1000)]
    tries = [place for place, size in enumerate(seen) if size > 2]
    assert len(tries) == 4
    assert np.diff(tries).tolist() == [65, 129, 257], "32 at first, twice as many after each that was in vain"
    assert batches.backed_off == 2 + 4
    seen.clear()
    assert batches.run(range(50_000), fits(100, seen)) == [2 * each for each in range(50_000)]
    assert list(dict.fromkeys(seen)) == [2, 4, 8], "what was asked for, and no more"
    assert batches.backed_off == 2 + 4


def test_once_it_has_grown_for_good_the_next_shortage_is_waited_out_as_the_first_was() -> None:
    batches, seen = Batches(8, CPU, 1), list[int]()
    batches.run(range(1000), fits(2, []))  # has tried in vain, ever more seldom
    batches.run(range(50_000), fits(8, []))
    assert batches.size == 8
    batches.run(range(400), fits(4, seen))
    assert [place for place, size in enumerate(seen) if size > 4] == [0, 33, 98], "32, then 64 as that was in vain"
    assert set(seen) == {4, 8}


def test_a_shortage_at_a_size_that_went_well_before_is_no_try_in_vain() -> None:
    batches, seen = Batches(8, CPU, 1), list[int]()
    batches.run(range(8), fits(4, []))
    batches.run(range(8 * 100), fits(8, []))  # grown to all that was asked for
    batches.run(range(8), fits(4, []))
    assert batches.run(range(4 * 40), fits(8, seen)) == [2 * each for each in range(160)]
    assert seen.index(8) == 30, "with the two of the shortage, 32 went well before"


def test_not_even_one_is_a_clear_error() -> None:
    with pytest.raises(DeviceError, match=r"does not have enough memory for one image .* GiB free"):
        Batches(4, CPU, 1).run(range(3), fits(0, []))


def test_that_error_holds_on_to_nothing_on_the_device() -> None:
    """Who goes on with the next shard keeps the error until the end."""
    tensors: list[weakref.ref[torch.Tensor]] = []

    def work(batch: Sequence[int]) -> list[int]:
        states = torch.zeros(len(batch), 8)
        tensors.append(weakref.ref(states))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError) as caught:
        Batches(2, CPU, 1).run(range(2), work)
    assert caught.value.__traceback__ is not None
    assert len(tensors) == 2
    assert [each() for each in tensors] == [None, None]


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


@pytest.mark.parametrize(
    ("group", "files", "free"),
    [
        ("0::/", {"memory.max": "max", "memory.current": "5"}, 1 << 62),
        ("0::/", {"memory.max": "1000", "memory.current": "700", "memory.stat": "inactive_file 50"}, 350),
        ("0::/a/b", {"a/memory.max": "1000", "a/memory.current": "990", "a/memory.stat": "inactive_file 50"}, 60),
        (
            "0::/\n4:cpu,memory:/docker/x",
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "400",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 30",
            },
            630,
        ),
        ("7:memory:/", {"memory/memory.limit_in_bytes": "broken"}, 1 << 62),
    ],
)
def test_what_the_control_groups_still_allow(tmp_path: Path, group: str, files: dict[str, str], free: int) -> None:
    own = tmp_path / "own"
    own.write_text(group + "\n")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert batching._container_free(tmp_path, own) == free
    assert batching._container_free(tmp_path / "none", tmp_path / "none") == 1 << 62


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
    assert engine._captioner._batches.backed_off == 1
