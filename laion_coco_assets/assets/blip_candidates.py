"""Stage 2: BLIP writes the profile's number of captions for every image."""

from collections import deque
from collections.abc import Container, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from laion_coco_assets.assets.images import OkImage, ok_image_rows, ok_images
from laion_coco_assets.assets.kept_rows import model_work
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.orchestration.stage import Rows, Work, profile_record, run_shards, stage_asset, stage_key
from laion_coco_assets.progress import Progress
from laion_coco_assets.resources.models import ModelsResource
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    import torch

    from laion_coco_assets.captioning.sampler import Candidates, Captioner

_AFTER: Final = (Stage.FETCHED_IMAGES,)


def build(profile: Profile, shards_per_run: int) -> dg.AssetsDefinition:
    """The asset `blip_candidates` for a profile."""

    @stage_asset(
        profile,
        Stage.BLIP_CANDIDATES,
        after=_AFTER,
        kinds={"pytorch", "parquet"},
        shards_per_run=shards_per_run,
        pool="gpu",
    )
    def blip_candidates(
        context: dg.AssetExecutionContext,
        store: ShardStoreResource,
        models: ModelsResource,
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult[Any]:
        """Captions that BLIP sampled for each image: the distinct ones in sampling order, and how often each was drawn.

        A sample's captions depend on its image, the profile and its seed alone: random numbers are keyed by seed,
        sample, candidate and step, so batches, order and restarts do not show.
        """
        files = store.get()

        def plan(profile: Profile, shard: str) -> Work:
            key = stage_key(profile, files, Stage.BLIP_CANDIDATES, shard, *_AFTER)

            def make(done: int, kept: Container[int]) -> Iterator[Rows]:
                return caption_shard(files, shard, models.captioner(profile.caption), models.batch_size, done, kept)

            def record() -> dict[str, Any]:
                captioner = models.captioner(profile.caption)
                model = {"caption": {"name": profile.caption.model.name, "revision": captioner.revision}}
                return profile_record(profile) | {"models": model, "device": models.where()}

            return model_work(files, key, lambda: ok_image_rows(files, shard), make, record)

        return run_shards(context, profile, files, progress, plan)

    return blip_candidates


def caption_shard(
    store: ShardStore, shard: str, captioner: "Captioner", window: int, done: int, kept: Container[int] = frozenset()
) -> Iterator[Rows]:
    """Rows of BLIP_CANDIDATES, one an ok image in source order but for the `kept` ones, behind the first `done`.

    Images are prepared up to `window` ahead of the captioner.
    """
    taken: deque[tuple[OkImage, bool]] = deque()  # in order: what the captioner has of them, and what none can read

    def readable(images: Iterator[OkImage]) -> Iterator[tuple[str, "torch.Tensor"]]:
        for each in images:
            taken.append((replace(each, pixels=None), each.pixels is not None))
            if each.pixels is not None:
                yield each.sample_id, each.pixels

    with closing(ok_images(store, shard, captioner, window=window, skip=done, without=kept)) as images:
        for drawn in captioner.stream(readable(images)):
            rows: Rows = []
            for found in drawn:
                rows += _unreadable(taken)
                rows.append(_row(taken.popleft()[0], found))
            yield rows
    yield list(_unreadable(taken))


def _unreadable(taken: "deque[tuple[OkImage, bool]]") -> Iterator[dict[str, Any]]:
    """The rows of those at the front that can not be read, which are taken off."""
    while taken and not taken[0][1]:
        yield _row(taken.popleft()[0], None)


def _row(image: OkImage, found: "Candidates | None") -> dict[str, Any]:
    return {
        "row": image.row,
        "sample_id": image.sample_id,
        "captions": [] if found is None else found.captions,
        "multiplicities": [] if found is None else found.multiplicities,
        "token_counts": [] if found is None else found.token_counts,
        "reason": "decode_error" if found is None else None if found.captions else "no_caption",
    }
