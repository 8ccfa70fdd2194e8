"""Stage 4: the second CLIP scores the kept captions, and the alt text, and picks the winner."""

from collections.abc import Container, Iterator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from laion_coco_assets.assets.clip_l_top5 import score_with_alt_text
from laion_coco_assets.assets.images import OkImage, ok_images_with
from laion_coco_assets.assets.kept_rows import model_work
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.orchestration.stage import Rows, Work, profile_record, run_shards, stage_asset, stage_key
from laion_coco_assets.progress import Progress
from laion_coco_assets.resources.models import ModelsResource
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.store.joining import chunks, stage_rows
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from laion_coco_assets.captioning.scorer import Scorer

_AFTER: Final = (Stage.FETCHED_IMAGES, Stage.CLIP_L_TOP5)


def build(profile: Profile, shards_per_run: int) -> dg.AssetsDefinition:
    """The asset `rn50x64_final` for a profile."""

    @stage_asset(
        profile,
        Stage.RN50X64_FINAL,
        after=_AFTER,
        kinds={"pytorch", "parquet"},
        shards_per_run=shards_per_run,
        pool="gpu",
    )
    def rn50x64_final(
        context: dg.AssetExecutionContext,
        store: ShardStoreResource,
        models: ModelsResource,
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult[Any]:
        """The second CLIP's scores of the kept captions and the alt text, and the winner.

        A profile without a second ranker takes the first one's best; the scores are null then.
        """
        files = store.get()
        final = profile.final

        def plan(profile: Profile, shard: str) -> Work:
            key = stage_key(profile, files, Stage.RN50X64_FINAL, shard, *_AFTER)

            def numbers() -> Iterator[int]:
                return (row["row"] for row in stage_rows(files, Stage.CLIP_L_TOP5, shard, ["row"]))

            def make(done: int, kept: Container[int]) -> Iterator[Rows]:
                if final is None:
                    return first_rankers_best(files, shard, done, kept)
                scorer = models.scorer(final.model, "final.model.path")
                return pick_shard(files, shard, scorer, models.batch_size, done, kept)

            def record() -> dict[str, Any]:
                if final is None:
                    return profile_record(profile)
                model = {
                    "final": {
                        "name": final.model.name,
                        "revision": models.scorer(final.model, "final.model.path").revision,
                    }
                }
                return profile_record(profile) | {"models": model, "device": models.where()}

            return model_work(files, key, numbers, make, record)

        return run_shards(context, profile, files, progress, plan)

    return rn50x64_final


def pick_shard(
    store: ShardStore, shard: str, scorer: "Scorer", batch_size: int, done: int, kept: Container[int] = frozenset()
) -> Iterator[Rows]:
    """Rows of RN50X64_FINAL in source order but for the `kept` ones, behind the first `done`.

    Of equal scores the first ranker's better wins.
    """
    ranked = ok_images_with(store, Stage.CLIP_L_TOP5, shard, scorer, window=batch_size, skip=done, without=kept)
    with closing(ranked) as images:
        for batch in chunks(images, batch_size):
            scored = score_with_alt_text(scorer, batch, [each.stage_row["top_captions"] for each in batch])
            yield [_row(each, *scores) for each, scores in zip(batch, scored, strict=True)]


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
    ranked = (row for row in stage_rows(store, Stage.CLIP_L_TOP5, shard, columns) if row["row"] not in kept)
    for row in islice(ranked, done, None):
        own = {"row": row["row"], "sample_id": row["sample_id"]}
        yield [own | {"winner": row["top"][0], "caption": row["top_captions"][0]}]
