"""Stage 4: the final ranker scores the kept captions, and the alt text, and picks the winner."""

from collections.abc import Container, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from laion_coco_assets.contract.columns import Column
from laion_coco_assets.contract.profile import Profile, RankerSource
from laion_coco_assets.contract.shared_columns import FLOAT64, FLOATS, INT32, ROW, SAMPLE_ID, STRING
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

_SETTING = "final.model"


class Rn50x64Final(ModelStage):
    """The final ranker's scores of the kept captions and the alt text, and the winner.

    If the profile has no final ranker, the first ranker's best wins, and the scores are null.
    """

    name = StageName.RN50X64_FINAL.value
    section = "final"
    reads = (StageName.FETCHED_IMAGES, StageName.CLIP_L_TOP5)
    rows_of = RowsOf(StageName.CLIP_L_TOP5, "true", "ranked image")
    columns = (
        ROW,
        SAMPLE_ID,
        Column("scores", FLOATS, "the final ranker's similarities of top; null with one ranker"),
        Column("winner", INT32, "the winner, as an index into captions", nullable=False),
        Column("caption", STRING, "the caption that won", nullable=False),
        Column("alt_text_score", FLOAT64, "the final ranker's similarity of image and alt text, if there are both"),
    )
    figures: ClassVar[Mapping[str, str]] = {
        "winner_score_mean": "avg(list_max(scores))",
        "alt_text_score_mean": "avg(alt_text_score)",
        "score_uplift": "avg(list_max(scores) - alt_text_score)",
        "winner_is_first_rankers_best": "avg(CASE WHEN scores IS NULL OR scores[1] = list_max(scores) THEN 1.0 ELSE 0.0 END)",
    }

    @classmethod
    def panels(cls, profile: Profile) -> tuple[Panel, ...]:
        """See `Stage`."""
        if profile.final is None:
            return ()
        scores = {"winner": "[list_max(scores)]", "alt text": "[alt_text_score]"}
        place = {"images": "[list_position(scores, list_max(scores))]"}
        return (
            Panel(f"Similarity to the image, {profile.final.model.label}", SIMILARITY_BIN, scores),
            Panel("Winner's place with the first ranker", 1, place),
        )

    @classmethod
    def preflight(cls, run: StageRun) -> None:
        """See `Stage`."""
        if run.profile.final is not None:
            run.resources["models"].ranker(run.profile.final.model, _SETTING)

    def ranker(self, source: RankerSource) -> "Ranker":
        """The final ranker. Raises UserError when it cannot be loaded."""
        return self.models.ranker(source, _SETTING)

    def row_numbers(self) -> Iterator[int]:
        """See `ModelStage`."""
        return (row["row"] for row in stage_rows(self.store, StageName.CLIP_L_TOP5, self.shard, ["row"]))

    def make(self, done: int, kept: Container[int]) -> Iterator[Rows]:
        """See `ModelStage`."""
        if self.profile.final is None:
            return first_rankers_best(self.store, self.shard, done, kept)
        ranker = self.ranker(self.profile.final.model)
        return pick_shard(self.store, self.shard, ranker, self.models.batch_size, done, kept)

    def models_used(self) -> Mapping[str, Mapping[str, str]]:
        """See `ModelStage`."""
        if self.profile.final is None:
            return {}
        source = self.profile.final.model
        return {"final": {"name": source.name, "revision": self.ranker(source).revision}}


def pick_shard(
    store: ShardStore, shard: str, ranker: "Ranker", batch_size: int, done: int, kept: Container[int] = frozenset()
) -> Iterator[Rows]:
    """Rows of `rn50x64_final` in source order, without the `kept` ones and the first `done`.

    Of equal scores, the one that the first ranker prefers wins.
    """
    source = StageName.CLIP_L_TOP5
    ranked = ok_images_with(store, source, shard, ranker, window=batch_size, skip=done, without=kept)
    with closing(ranked) as images:
        for batch in chunks(images, batch_size):
            scored = score_with_alt_text(ranker, batch, [image.stage_row["top_captions"] for image in batch])
            yield [_row(image, *scores) for image, scores in zip(batch, scored, strict=True)]


def _row(image: OkImage, scores: list[float], alt_text_score: float | None) -> dict[str, Any]:
    best = max(range(len(scores)), key=lambda i: (scores[i], -i))
    return {
        "row": image.row,
        "sample_id": image.sample_id,
        "scores": scores,
        "winner": image.stage_row["top"][best],
        "caption": image.stage_row["top_captions"][best],
        "alt_text_score": alt_text_score,
    }


def first_rankers_best(store: ShardStore, shard: str, done: int, kept: Container[int] = frozenset()) -> Iterator[Rows]:
    """The same rows for a profile whose first ranker decides alone."""
    columns = ["row", "sample_id", "top", "top_captions"]
    ranked = (row for row in stage_rows(store, StageName.CLIP_L_TOP5, shard, columns) if row["row"] not in kept)
    for row in islice(ranked, done, None):
        own = {"row": row["row"], "sample_id": row["sample_id"]}
        yield [own | {"winner": row["top"][0], "caption": row["top_captions"][0]}]
