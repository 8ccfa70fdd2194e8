"""Stage 3: the first ranker scores every candidate, and the alt text, and names the best."""

from collections.abc import Container, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from laion_coco_assets.contract.columns import Column
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.shared_columns import FLOAT64, FLOATS, INTS, ROW, SAMPLE_ID, STRINGS
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.stages.images import OkImage, ok_images_with
from laion_coco_assets.stages.model_stage import ModelStage
from laion_coco_assets.stages.panels import SIMILARITY_BIN, Panel
from laion_coco_assets.stages.scoring import score_with_alt_text
from laion_coco_assets.stages.stage import Rows, RowsOf, StageRun
from laion_coco_assets.store.joining import chunks, stage_rows
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from laion_coco_assets.captioning.interfaces import Ranker

_SETTING = "rank.model"


class ClipLTop5(ModelStage):
    """Similarity of each image with all its candidates and its alt text, and the best candidates' indices.

    Every score is kept. Equal scores rank in sampling order.
    """

    name = StageName.CLIP_L_TOP5.value
    section = "rank"
    reads = (StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES)
    rows_of = RowsOf(StageName.BLIP_CANDIDATES, "reason IS NULL", "captioned image")
    columns = (
        ROW,
        SAMPLE_ID,
        Column("scores", FLOATS, "cosine similarity of image and every caption, in sampling order", nullable=False),
        Column("top", INTS, "the best captions, as indices into captions, best first", nullable=False),
        Column("top_captions", STRINGS, "the captions of top", nullable=False),
        Column("top_scores", FLOATS, "the scores of top", nullable=False),
        Column("alt_text_score", FLOAT64, "similarity of image and alt text; null when TEXT is null or blank"),
    )
    figures: ClassVar[Mapping[str, str]] = {
        "best_score_mean": "avg(top_scores[1])",
        "all_scores_mean": "avg(list_avg(scores))",
        "alt_text_score_mean": "avg(alt_text_score)",
        "score_uplift": "avg(top_scores[1] - alt_text_score)",
    }

    @classmethod
    def panels(cls, profile: Profile) -> tuple[Panel, ...]:
        """See `Stage`."""
        scores = {"all captions": "scores", "alt text": "[alt_text_score]"}
        lead = {"images": "[top_scores[1] - alt_text_score]"}
        return (
            Panel(f"Similarity to the image, {profile.rank.model.label}", SIMILARITY_BIN, scores),
            Panel("Best caption's lead over the alt text", SIMILARITY_BIN, lead),
        )

    @classmethod
    def preflight(cls, run: StageRun) -> None:
        """See `Stage`."""
        run.resources["models"].ranker(run.profile.rank.model, _SETTING)

    @property
    def ranker(self) -> "Ranker":
        """The profile's first ranker. Raises UserError when it cannot be loaded."""
        return self.models.ranker(self.profile.rank.model, _SETTING)

    def row_numbers(self) -> Iterator[int]:
        """See `ModelStage`."""
        candidates = stage_rows(self.store, StageName.BLIP_CANDIDATES, self.shard, ["row", "reason"])
        return (row["row"] for row in candidates if not row["reason"])

    def make(self, done: int, kept: Container[int]) -> Iterator[Rows]:
        """See `ModelStage`."""
        keep, batch_size = self.profile.rank.keep, self.models.batch_size
        return rank_shard(self.store, self.shard, self.ranker, keep, batch_size, done, kept)

    def models_used(self) -> Mapping[str, Mapping[str, str]]:
        """See `ModelStage`."""
        return {"rank": {"name": self.profile.rank.model.name, "revision": self.ranker.revision}}


def rank_shard(
    store: ShardStore,
    shard: str,
    ranker: "Ranker",
    keep: int,
    batch_size: int,
    done: int,
    kept: Container[int] = frozenset(),
) -> Iterator[Rows]:
    """Rows of `clip_l_top5`, one per captioned image in source order, without the `kept` ones and the first `done`."""
    source = StageName.BLIP_CANDIDATES
    captioned = ok_images_with(store, source, shard, ranker, window=batch_size, skip=done, without=kept)
    with closing(captioned) as images:
        for batch in chunks(images, batch_size):
            scored = score_with_alt_text(ranker, batch, [image.stage_row["captions"] for image in batch])
            yield [_row(image, keep, *scores) for image, scores in zip(batch, scored, strict=True)]


def _row(image: OkImage, keep: int, scores: list[float], alt_text_score: float | None) -> dict[str, Any]:
    top = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:keep]
    return {
        "row": image.row,
        "sample_id": image.sample_id,
        "scores": scores,
        "top": top,
        "top_captions": [image.stage_row["captions"][i] for i in top],
        "top_scores": [scores[i] for i in top],
        "alt_text_score": alt_text_score,
    }
