"""What is held grows with distinct prefixes and with the batch, not with candidates nor with the number of images."""

from collections.abc import Callable, Sequence

import pytest
import torch
from PIL import Image

from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.decoder import BlipDecoder, Prefixes
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.contract.profile import CaptionSettings, MaxLength


def bytes_held(prefixes: Prefixes) -> int:
    return prefixes.cache.nbytes + prefixes.states.cache.nbytes + prefixes.tokens.nbytes


def most_held(
    blip: Blip, settings: CaptionSettings, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """While images are captioned four at a time: the most rows, and the most bytes, that the decoder had at once."""
    rows, held = [0], [0]
    advance = BlipDecoder.advance

    def watched(self: BlipDecoder, groups: Sequence[Prefixes]) -> torch.Tensor:
        rows.append(sum(len(each.images) for each in groups))
        held.append(sum(bytes_held(each) for each in groups))
        return advance(self, groups)

    with monkeypatch.context() as patch:
        patch.setattr(BlipDecoder, "advance", watched)
        BlipCaptioner(blip, settings, batch_size=4).caption(images, [f"{place}" for place in range(len(images))])
    return max(rows), max(held)


def test_candidates_that_agree_cost_nothing(
    blip: Blip,
    settings_with: Callable[..., CaptionSettings],
    images: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_candidates(count: int, top_p: float) -> CaptionSettings:
        return settings_with(top_p=top_p, max_lengths=(MaxLength(tokens=8, candidates=count),))

    greedy = most_held(blip, with_candidates(4, 1e-9), images[:4], monkeypatch)
    assert greedy == most_held(blip, with_candidates(400, 1e-9), images[:4], monkeypatch)
    assert greedy[0] == 4, "one row an image"
    rows, held = most_held(blip, with_candidates(400, 0.9), images[:4], monkeypatch)
    assert 4 < rows < 4 * 400, "distinct prefixes: more than images, fewer than candidates"
    assert held > greedy[1]


def test_more_images_are_not_held_at_once(
    blip: Blip,
    settings_with: Callable[..., CaptionSettings],
    images: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_with(top_p=1e-9)
    assert most_held(blip, settings, images[:4], monkeypatch) == most_held(blip, settings, images[:4] * 6, monkeypatch)
