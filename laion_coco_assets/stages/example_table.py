"""The UI's table of examples: a shard's first published samples with thumbnails, captions, alt texts and scores."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.markdown import Image, Markdown, Url, table
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets.store.store import ShardStore

_EXAMPLES: Final = 6
_THUMBNAIL: Final = 96  # pixels
_QUALITY: Final = 60


def example_table(store: ShardStore, shard: str, profile: Profile, *, thumbnails: bool = True) -> Markdown:
    """The shard's first published samples, with the scores of the ranker that decided."""
    from laion_coco_assets.evaluation.examples import published_images

    pairs: Iterator[tuple[Row, bytes | None]] = (
        published_images(store, shard)
        if thumbnails
        else ((row, None) for row in stage_rows(store, StageName.PUBLISHED, shard))
    )
    score = f"score by {profile.ranker_labels[-1]}"
    head = ["image", "top_caption", score, "alt text", score, "URL"]
    body = [[_picture(image), *_example(row)] for row, image in islice(pairs, _EXAMPLES)]
    left_out = 0 if thumbnails else 1
    return table(head[left_out:], [line[left_out:] for line in body], numbers=(score,))


def _picture(image: bytes | None) -> Image | None:
    from laion_coco_assets.evaluation.examples import thumbnail

    if image is None:
        return None
    try:
        return Image(thumbnail(image, side=_THUMBNAIL, quality=_QUALITY))
    except ValueError:
        return None  # a missing thumbnail must not fail the shard


def _example(row: Mapping[str, Any]) -> list[Any]:
    if row["final_similarities"]:
        scores = max(row["final_similarities"]), row["alt_text_final_similarity"]
    else:
        scores = row["all_similarities"][0], row["alt_text_similarity"]
    score, alt_text_score = ("" if value is None else f"{value:.3f}" for value in scores)
    return [row["top_caption"], score, (row["TEXT"] or "").strip() or "(none)", alt_text_score, Url(row["URL"] or "")]
