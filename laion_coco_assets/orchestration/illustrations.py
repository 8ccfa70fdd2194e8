"""What the UI shows of a shard in pictures: histograms of scores and lengths, examples with thumbnails.

An event stays small, some tens of kB: there is one for every shard and stage, and Dagster keeps them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.markdown import Image, Url, table
from laion_coco_assets.orchestration.query import query
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from laion_coco_assets.evaluation.histograms import Histogram

_EXAMPLES: Final = 6
_THUMBNAIL: Final = 96  # pixels
_QUALITY: Final = 60

_SCORE: Final = 0.01


@dataclass(frozen=True)
class _Panel:
    title: str
    bin_width: float
    #: By name, SQL over a row of the file (`stage`): a list of values.
    series: Mapping[str, str]


#: By the ranker that decided: a profile may have the first one only.
_WINNER: Final = "[coalesce(list_max(final_similarities), all_similarities[1])]"
_ALT_TEXT: Final = "[CASE WHEN final_similarities IS NULL THEN alt_text_similarity ELSE alt_text_final_similarity END]"

_PANELS: Final[Mapping[Stage, tuple[_Panel, ...]]] = {
    Stage.BLIP_CANDIDATES: (
        _Panel("Tokens a caption", 1, {"captions": "token_counts"}),
        _Panel("Distinct captions an image", 1, {"images": "[len(captions)]"}),
    ),
    Stage.CLIP_L_TOP5: (
        _Panel(
            "Cosine similarity to the image, ViT-L/14",
            _SCORE,
            {"all captions": "scores", "alt text": "[alt_text_score]"},
        ),
        _Panel("Best caption's lead over the alt text", _SCORE, {"images": "[top_scores[1] - alt_text_score]"}),
    ),
    Stage.RN50X64_FINAL: (
        _Panel(
            "Cosine similarity to the image, RN50x64",
            _SCORE,
            {"winner": "[list_max(scores)]", "alt text": "[alt_text_score]"},
        ),
        _Panel("Winner's place with the first ranker", 1, {"images": "[list_position(scores, list_max(scores))]"}),
    ),
    Stage.PUBLISHED: (
        _Panel("Cosine similarity to the image", _SCORE, {"top caption": _WINNER, "alt text": _ALT_TEXT}),
        _Panel(
            "Words",
            1,
            {
                "top caption": "[len(string_split(top_caption, ' '))]",
                "alt text": r"[len(regexp_extract_all(TEXT, '\S+'))]",
            },
        ),
    ),
}


def histograms(store: ShardStore, stage: Stage, shard: str) -> dg.MarkdownMetadataValue | None:
    """A stage's histograms as one picture; None for a stage that has none, and for an empty file."""
    counted = count(store, stage, shard)
    if not any(values for each in counted for values in each.series.values()):
        return None
    from laion_coco_assets.evaluation.histograms import draw

    return dg.MetadataValue.md(Image.png(draw(counted)).markdown)


def count(store: ShardStore, stage: Stage, shard: str) -> list["Histogram"]:
    """What a stage's histograms show."""
    from laion_coco_assets.evaluation.histograms import Histogram

    panels = _PANELS.get(stage, ())
    series = [(panel.bin_width, sql) for panel in panels for sql in panel.series.values()]
    counts: list[dict[int, int]] = [{} for _ in series]
    if series:
        for i, bin_, found in query(store, stage, shard, _counting(series))[1]:
            counts[i][bin_] = found
    rest = iter(counts)
    return [Histogram(panel.title, panel.bin_width, {name: next(rest) for name in panel.series}) for panel in panels]


def _counting(series: Sequence[tuple[float, str]]) -> str:
    """SQL that counts each series' values by bin. The file streams through once; what is kept of it are the values."""
    kept = ", ".join(f"{sql} AS v{i}" for i, (_, sql) in enumerate(series))
    # Rounded before the floor: 0.29 / 0.01 is a hair below 29.
    binned = " UNION ALL ".join(
        f"SELECT {i} AS i, floor(round(unnest(v{i}) / {width}, 6)) AS bin FROM kept"  # noqa: S608  # our own constants
        for i, (width, _) in enumerate(series)
    )
    return (
        f"WITH kept AS MATERIALIZED (SELECT {kept} FROM stage) "  # noqa: S608  # likewise
        f"SELECT i, bin::INTEGER, count(*) FROM ({binned}) WHERE isfinite(bin) GROUP BY ALL"
    )


def examples(store: ShardStore, shard: str, *, thumbnails: bool = True) -> dg.MarkdownMetadataValue:
    """The shard's first published samples: picture, caption, alt text, both scores. What was removed is not published."""
    from laion_coco_assets.evaluation.examples import published_images

    pairs: Iterator[tuple[Row, bytes | None]] = (
        published_images(store, shard)
        if thumbnails
        else ((row, None) for row in stage_rows(store, Stage.PUBLISHED, shard))
    )
    shown = list(islice(pairs, _EXAMPLES))
    # A profile may have the first ranker only; a file is of one profile.
    decided = "RN50x64" if any(row["final_similarities"] for row, _ in shown) else "ViT-L/14"
    score = f"{decided} cosine"
    head = ["image", "top_caption", score, "alt text", score, "URL"]
    body = [[_picture(image), *_example(row)] for row, image in shown]
    left_out = 0 if thumbnails else 1
    return table(head[left_out:], [line[left_out:] for line in body], numbers=(score,))


def _picture(image: bytes | None) -> Image | None:
    from laion_coco_assets.evaluation.examples import thumbnail

    if image is None:
        return None
    try:
        return Image(thumbnail(image, side=_THUMBNAIL, quality=_QUALITY))
    except ValueError:
        return None  # an illustration is no reason for a shard to fail


def _example(row: Mapping[str, Any]) -> list[Any]:
    if row["final_similarities"]:
        scores = max(row["final_similarities"]), row["alt_text_final_similarity"]
    else:
        scores = row["all_similarities"][0], row["alt_text_similarity"]
    score, alt_text_score = ("" if each is None else f"{each:.3f}" for each in scores)
    return [row["top_caption"], score, (row["TEXT"] or "").strip() or "(none)", alt_text_score, Url(row["URL"] or "")]
