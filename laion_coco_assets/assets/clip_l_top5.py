"""Stage 3: the first CLIP scores every candidate, and the alt text, and names the best."""

from collections.abc import Container, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from laion_coco_assets.assets.images import OkImage, ok_images_with
from laion_coco_assets.assets.kept_rows import model_work
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.errors import StoreError
from laion_coco_assets.orchestration.stage import Rows, Work, profile_record, run_shards, stage_asset, stage_key
from laion_coco_assets.progress import Progress
from laion_coco_assets.resources.models import ModelsResource
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.store.joining import chunks, stage_rows
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from laion_coco_assets.captioning.scorer import Scorer

_AFTER: Final = (Stage.FETCHED_IMAGES, Stage.BLIP_CANDIDATES)


def build(profile: Profile, shards_per_run: int) -> dg.AssetsDefinition:
    """The asset `clip_l_top5` for a profile."""

    @stage_asset(
        profile,
        Stage.CLIP_L_TOP5,
        after=_AFTER,
        kinds={"pytorch", "parquet"},
        shards_per_run=shards_per_run,
        pool="gpu",
    )
    def clip_l_top5(
        context: dg.AssetExecutionContext,
        store: ShardStoreResource,
        models: ModelsResource,
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult[Any]:
        """Cosine similarity of each image with all its candidates and its alt text, and the best candidates' indices.

        Every score is kept. Equal scores rank in sampling order.
        """
        files = store.get()

        def plan(profile: Profile, shard: str) -> Work:
            key = stage_key(profile, files, Stage.CLIP_L_TOP5, shard, *_AFTER)

            def numbers() -> Iterator[int]:
                candidates = stage_rows(files, Stage.BLIP_CANDIDATES, shard, ["row", "reason"])
                return (row["row"] for row in candidates if not row["reason"])

            def make(done: int, kept: Container[int]) -> Iterator[Rows]:
                scorer = models.scorer(profile.rank.model, "rank.model.path")
                return rank_shard(files, shard, scorer, profile.rank.keep, models.batch_size, done, kept)

            def record() -> dict[str, Any]:
                model = {
                    "rank": {
                        "name": profile.rank.model.name,
                        "revision": models.scorer(profile.rank.model, "rank.model.path").revision,
                    }
                }
                return profile_record(profile) | {"models": model, "device": models.where()}

            return model_work(files, key, numbers, make, record)

        return run_shards(context, profile, files, progress, plan)

    return clip_l_top5


def rank_shard(
    store: ShardStore,
    shard: str,
    scorer: "Scorer",
    keep: int,
    batch_size: int,
    done: int,
    kept: Container[int] = frozenset(),
) -> Iterator[Rows]:
    """Rows of CLIP_L_TOP5, one a captioned image in source order but for the `kept` ones, behind the first `done`."""
    captioned = ok_images_with(store, Stage.BLIP_CANDIDATES, shard, scorer, window=batch_size, skip=done, without=kept)
    with closing(captioned) as images:
        for batch in chunks(images, batch_size):
            scored = score_with_alt_text(scorer, batch, [each.stage_row["captions"] for each in batch])
            yield [_row(each, keep, *scores) for each, scores in zip(batch, scored, strict=True)]


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


def score_with_alt_text(
    scorer: "Scorer", images: Sequence[OkImage], captions: Sequence[Sequence[str]]
) -> list[tuple[list[float], float | None]]:
    """Each image's captions' scores, and its alt text's, None where that is null or blank.

    Raises:
        StoreError: an image can not be decoded, though it was when it was captioned.
    """
    pixels = [each.pixels for each in images if each.pixels is not None]
    if len(pixels) < len(images):
        unreadable = next(each for each in images if each.pixels is None)
        raise StoreError(f"sample {unreadable.sample_id}: has captions, but its image can not be decoded (any more)")
    alt_texts = [[each.text] if each.text and each.text.strip() else [] for each in images]
    texts = [[*own, *alt] for own, alt in zip(captions, alt_texts, strict=True)]
    scored = [each.tolist() for each in scorer.score_prepared(pixels, texts)]
    return [
        (scores[: len(own)], scores[len(own)] if alt else None)
        for scores, own, alt in zip(scored, captions, alt_texts, strict=True)
    ]
