"""Stage 5: LAION-COCO's parquet, and the ledger that says what became of every source row."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any, Final

import dagster as dg

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import FETCHED_IMAGES, LEDGER, Stage
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.errors import StoreError
from laion_coco_assets.orchestration.illustrations import examples
from laion_coco_assets.orchestration.stage import (
    Rows,
    Work,
    profile_record,
    run_shards,
    stage_asset,
    stage_key,
    write_stage,
)
from laion_coco_assets.progress import NoProgress, Progress
from laion_coco_assets.publishing.card import write_card
from laion_coco_assets.publishing.removal_list import RemovalList, digest
from laion_coco_assets.publishing.rows import ledger_row, published_row
from laion_coco_assets.resources.examples import ExamplesResource
from laion_coco_assets.resources.removal_list import RemovalsResource
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.store.joining import Row, chunks, joined, stage_rows
from laion_coco_assets.store.store import ShardStore

_APPEND_ROWS: Final = 500
_AFTER: Final = (Stage.FETCHED_IMAGES, Stage.BLIP_CANDIDATES, Stage.CLIP_L_TOP5, Stage.RN50X64_FINAL)


def build(profile: Profile, shards_per_run: int) -> dg.AssetsDefinition:
    """The asset `published` for a profile."""

    @stage_asset(
        profile,
        Stage.PUBLISHED,
        after=_AFTER,
        kinds={"parquet", "huggingface"},
        shards_per_run=shards_per_run,
    )
    def published(
        context: dg.AssetExecutionContext,
        store: ShardStoreResource,
        removals: RemovalsResource,
        examples_shown: ExamplesResource,
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult[Any]:
        """The data set: LAION-COCO's columns with its names and types, then all scores, the sample id, the fingerprint.

        With it the ledger is written, one row per source row: published, or rejected at a stage for a reason. What is on
        the removal list is not published; a shard is published again when entries that concern it came or went.
        """
        files = store.get()
        removal_list = cache(removals.get)  # read with the first shard, so that an unreadable list fails as they do

        def plan(profile: Profile, shard: str) -> Work:
            key = stage_key(profile, files, Stage.PUBLISHED, shard, *_AFTER)
            removed = removed_rows(files, shard, removal_list())
            if not removals.where:
                _keep_removed(files, shard)
            if removed:
                key = replace(key, inputs={**key.inputs, "removals": digest(removed.values())})

            def first() -> None:
                # The ledger: a new published file never stands beside an older one.
                write_ledger(files, key, removed)
                write_card(files, profile)

            def total() -> int:
                return sum(row["row"] not in removed for row in stage_rows(files, Stage.RN50X64_FINAL, shard, ["row"]))

            def rows(done: int) -> Iterator[Rows]:
                return publish_shard(files, key, removed, done)

            def shown() -> dict[str, Any]:
                return {"examples": examples(files, shard, thumbnails=examples_shown.thumbnails)}

            return Work(key, total, rows, lambda: profile_record(profile), shown, first=first)

        return run_shards(context, profile, files, progress, plan, removal_list)

    return published


def _keep_removed(store: ShardStore, shard: str) -> None:
    """Let nothing that was taken down come back because a list was not named.

    Raises:
        StoreError: it would.
    """
    for stage in (Stage.PUBLISHED, LEDGER):
        info = store.usable_info(stage, shard)
        if info is not None and "removals" in info.key.inputs:
            raise StoreError(
                f"{store.path(stage, shard)} leaves out rows by a removal list, and none is named now: set "
                "LAION_COCO_REMOVALS / --removals, to an empty file if they are to be published again"
            )


def removed_rows(store: ShardStore, shard: str, removals: RemovalList) -> dict[int, str]:
    """The ok images that match the removal list: the entry of each, by `row`."""
    if not removals:
        return {}
    rows = stage_rows(store, Stage.FETCHED_IMAGES, shard, ["row", "sample_id", "URL", "final_url", "status"])
    found = ((row, removals.entry(row["sample_id"], row["URL"], row["final_url"])) for row in rows)
    return {row["row"]: entry for row, entry in found if entry is not None and row["status"] == "ok"}


def write_ledger(store: ShardStore, published: StageKey, removed: Mapping[int, str]) -> None:
    """The shard's ledger, unless it is complete and unchanged."""
    shard = published.shard
    key = StageKey(LEDGER, shard, published.fingerprint, published.inputs)
    fetched = store.need(Stage.FETCHED_IMAGES, shard)

    def rows(done: int) -> Iterator[Rows]:
        left = stage_rows(store, Stage.FETCHED_IMAGES, shard, _without_image())
        pairs = joined(left, stage_rows(store, Stage.BLIP_CANDIDATES, shard, ["row", "sample_id", "reason"]))
        lines = (ledger_row(row, candidates, removed.get(row["row"])) for row, candidates in pairs)
        return chunks(islice(lines, done, None), _APPEND_ROWS)

    said = fetched.metadata
    record = {"source_rows": fetched.rows} | {
        name: said[name] for name in ("source_rows", "max_samples") if name in said
    }
    work = Work(key, lambda: fetched.rows, rows, lambda: record)
    write_stage(store, work, NoProgress(), settings=None, trial="max_samples" in record)


def publish_shard(store: ShardStore, key: StageKey, removed: Container[int], done: int) -> Iterator[Rows]:
    """Rows of PUBLISHED in source order, behind the first `done`."""
    shard = key.shard
    candidates = joined(
        stage_rows(store, Stage.FETCHED_IMAGES, shard, _without_image()),
        stage_rows(store, Stage.BLIP_CANDIDATES, shard),
    )
    ranked = stage_rows(store, Stage.CLIP_L_TOP5, shard)
    final = stage_rows(store, Stage.RN50X64_FINAL, shard)

    def rows() -> Iterator[Row]:
        captioned = ((row, drawn) for row, drawn in candidates if drawn is not None and drawn["reason"] is None)
        for (row, drawn), scores, winner in zip(captioned, ranked, final, strict=True):
            if row["row"] not in removed:
                yield published_row(row, drawn, scores, winner, key.fingerprint)

    return chunks(islice(rows(), done, None), _APPEND_ROWS)


def _without_image() -> list[str]:
    return [name for name in FETCHED_IMAGES.names if name != "image"]
