"""Stage 1: every source row's URL becomes image bytes, or a reason why not."""

from contextlib import ExitStack
from functools import cache
from typing import Any

import dagster as dg
from pydantic import Field

from laion_coco_assets.assets.refetch import refetch_work
from laion_coco_assets.contract.fingerprint import fingerprints
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.reasons import parse_reasons
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.errors import SourceError
from laion_coco_assets.fetching.rows import fetch_shard
from laion_coco_assets.orchestration.stage import Work, profile_record, run_shards, said_plainly, stage_asset
from laion_coco_assets.progress import Progress
from laion_coco_assets.resources.fetcher import FetcherResource
from laion_coco_assets.resources.store import ShardStoreResource, SourceResource


class FetchConfig(dg.Config):
    """What one run may ask of the stage."""

    retry: list[str] = Field(
        default_factory=list,
        description="Ask again for the rows of complete files that have one of these reasons, and leave the others as "
        "they are; `transient` stands for what may go better on another day.",
    )


def build(profile: Profile, shards_per_run: int) -> dg.AssetsDefinition:
    """The asset `fetched_images` for a profile."""

    @stage_asset(
        profile,
        Stage.FETCHED_IMAGES,
        kinds={"http", "parquet"},
        shards_per_run=shards_per_run,
        pool="fetch",
    )
    def fetched_images(
        context: dg.AssetExecutionContext,
        config: FetchConfig,
        store: ShardStoreResource,
        source: SourceResource,
        fetcher: FetcherResource,
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult[Any]:
        """The images behind a shard's URLs, as they were served: one row per source row, with a reason where none came.

        Original bytes are kept when they are a supported image within the profile's limits. Nothing is dropped: a URL
        that failed has its reason from a closed list, and the HTTP status where there was one.
        """
        with said_plainly():
            reasons = parse_reasons(config.retry)
        files = store.get()
        with ExitStack() as opened:
            # Where nothing is left to fetch, none is started; where it can not be, the shard that needs it says so.
            client = cache(lambda: opened.enter_context(fetcher.open(profile.fetch)))

            def plan(profile: Profile, shard: str) -> Work:
                origin = source.shard(shard)
                fingerprint = fingerprints(profile)[Stage.FETCHED_IMAGES]
                key = StageKey(Stage.FETCHED_IMAGES, shard, fingerprint, {"source": origin.digest})
                if files.made_from_other(key):
                    context.log.warning(
                        f"{origin.path} changed after shard {shard} was fetched: fetching it as it is now"
                    )
                if reasons and origin.brings_images:
                    raise SourceError(f"{origin.path} brings its images along: there is nothing to ask for again")
                rows, most = origin.rows, profile.fetch.max_samples

                def record() -> dict[str, Any]:
                    said = {"source_rows": rows, "source": str(origin.path), "brings_images": origin.brings_images}
                    return profile_record(profile) | said

                work = Work(
                    key,
                    lambda: rows if most is None else min(rows, most),
                    lambda done: fetch_shard(origin, client(), done, most),
                    record,
                )
                return refetch_work(files, work, client, reasons, context.run.run_id) if reasons else work

            return run_shards(context, profile, files, progress, plan)

    return fetched_images
