"""Scores of a batch of images: of their captions, and of their alt texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from laion_coco_assets.errors import StoreError
from laion_coco_assets.stages.images import OkImage

if TYPE_CHECKING:
    from laion_coco_assets.captioning.interfaces import Ranker


def score_with_alt_text(
    ranker: "Ranker", images: Sequence[OkImage], captions: Sequence[Sequence[str]]
) -> list[tuple[list[float], float | None]]:
    """For each image, its captions' scores and its alt text's score, which is None if the alt text is null or blank.

    Raises:
        StoreError: an image cannot be decoded any more, although it was captioned.
    """
    pixels = [image.pixels for image in images if image.pixels is not None]
    if len(pixels) < len(images):
        unreadable = next(image for image in images if image.pixels is None)
        raise StoreError(f"sample {unreadable.sample_id}: has captions, but its image cannot be decoded any more")
    alt_texts = [[image.text] if image.text and image.text.strip() else [] for image in images]
    texts = [[*own, *alt] for own, alt in zip(captions, alt_texts, strict=True)]
    scored = ranker.score(pixels, texts)
    return [
        (scores[: len(own)], scores[len(own)] if alt else None)
        for scores, own, alt in zip(scored, captions, alt_texts, strict=True)
    ]
