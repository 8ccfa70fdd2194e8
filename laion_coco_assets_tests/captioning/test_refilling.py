"""Nobody waits for a long caption: who is finished leaves, who waits enters, and both show in what is computed only."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.captioning.blip_captioner import BlipCaptioner, Sample
from laion_coco_assets.captioning.decoder import BlipDecoder, Prefixes
from laion_coco_assets.captioning.group import Group
from laion_coco_assets.captioning.interfaces import Candidates
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.contract.profile import CaptionSettings, MaxLength

LONGEST, SHORT = 24, 3


class Measured(BlipCaptioner):
    """Captions of `long` images are as long as may be, those of others end after three tokens."""

    long: frozenset[str] = frozenset()

    def _outcome(
        self, group: Group, tokens: NDArray[np.int64], ends: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        short = np.array([each not in self.long for each in group.sample_ids])[group.tree.images]
        return tokens, short & (group.step >= SHORT)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each pass through the decoder, one entry a pass."""
    passes: list[int] = []
    advance = BlipDecoder.advance

    def watched(self: BlipDecoder, groups: Sequence[Prefixes]) -> torch.Tensor:
        logits = advance(self, groups)
        passes.append(len(logits))
        return logits

    monkeypatch.setattr(BlipDecoder, "advance", watched)
    return passes


@pytest.fixture
def settings(settings_with: Callable[..., CaptionSettings]) -> CaptionSettings:
    return settings_with(top_p=0.8, max_lengths=(MaxLength(tokens=LONGEST, candidates=10),))


def captioner(blip: Blip, settings: CaptionSettings, size: int, long: Sequence[str]) -> Measured:
    made = Measured(blip, settings, batch_size=size)
    made.long = frozenset(long)
    return made


def test_a_long_caption_costs_its_own_rows_and_no_one_elses_time(
    blip: Blip, images: list[Image.Image], settings: CaptionSettings, rows: list[int]
) -> None:
    ids, long = [f"{place}" for place in range(12)], ["0", "4", "8"]
    pictures = (images * 2)[:12]
    alone: list[Candidates] = []
    for picture, each in zip(pictures, ids, strict=True):
        alone += captioner(blip, settings, 1, long).caption([picture], [each])
    cost = sum(rows)
    rows.clear()
    assert captioner(blip, settings, 4, long).caption(pictures, ids) == alone
    assert sum(rows) == cost, "together as many rows as each alone"
    # Four at a time until the last of them is finished would be three times the longest.
    assert len(rows) < 2 * LONGEST
    assert max(len(each) for each in (image.captions for image in alone)) > 1


def test_without_long_captions_as_many_passes_as_there_are_batches(
    blip: Blip, images: list[Image.Image], settings: CaptionSettings, rows: list[int]
) -> None:
    captioner(blip, settings, 4, []).caption((images * 2)[:12], [f"{place}" for place in range(12)])
    assert len(rows) == 3 * SHORT


def test_others_enter_while_one_goes_on_and_what_is_given_is_in_order(
    blip: Blip, images: list[Image.Image], settings: CaptionSettings
) -> None:
    ids = [f"{place}" for place in range(20)]
    writing = captioner(blip, settings, 4, ["2"])
    taken: list[str] = []

    def samples() -> Iterator[Sample]:
        for place, each in enumerate(ids):
            taken.append(each)
            yield each, writing.prepare(images[place % len(images)])

    parts = writing.stream(samples())
    first = next(parts)
    assert (len(first), taken) == (2, ids[:4]), "what is finished before the long one, at once"
    second = next(parts)
    assert len(taken) > 10, "others entered and were finished beside the long one"
    assert len(second) > 6, "which held back no more than its turn"
    assert [*first, *second, *(each for part in parts for each in part)] == writing.caption(
        [images[place % len(images)] for place in range(20)], ids
    )


@pytest.mark.parametrize("most", [1, 3])
def test_memory_that_runs_out_in_the_middle_loses_nothing_that_is_finished(
    blip: Blip,
    images: list[Image.Image],
    settings: CaptionSettings,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    """The decoder's caches no longer fit once more than `most` images are at it together."""
    ids = [f"{place}" for place in range(7)]
    expected = captioner(blip, settings, 1, ["1"]).caption(images, ids)
    advance, started = BlipDecoder.advance, list[int]()
    start = BlipDecoder.start

    def full(self: BlipDecoder, groups: Sequence[Prefixes]) -> torch.Tensor:
        if sum(len(set(each.images.tolist())) for each in groups) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return advance(self, groups)

    def counted(self: BlipDecoder, *given: Any) -> Any:
        started.append(len(given[0]))
        return start(self, *given)

    monkeypatch.setattr(BlipDecoder, "advance", full)
    monkeypatch.setattr(BlipDecoder, "start", counted)
    writing = captioner(blip, settings, 6, ["1"])
    assert writing.caption(images, ids) == expected
    assert started[0] == 6
    assert sum(started) < 6 + 6 + 7, "only what was begun and not finished is begun again"


def test_no_device_memory_for_one_is_an_error(
    blip: Blip, images: list[Image.Image], settings: CaptionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from laion_coco_assets.errors import DeviceMemoryError

    def full(self: BlipDecoder, groups: Sequence[Prefixes]) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(BlipDecoder, "advance", full)
    with pytest.raises(DeviceMemoryError, match="does not have enough memory for one image"):
        captioner(blip, settings, 4, []).caption(images, list("abcdefg"))
