"""The schedule asks again for transient failures alone, of old shards, no more often than it may."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.assets import fingerprints, pipeline_of
from laion_coco_assets.assets.refetch import wanted_rows
from laion_coco_assets.automation import fetched_files
from laion_coco_assets.automation.refetch_transient import build_refetch_transient
from laion_coco_assets.cli.runner import run_shards
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.reasons import TRANSIENT
from laion_coco_assets.contract.stage_info import ReusedFile, StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.resources.store_resource import ShardStoreResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer
from laion_coco_assets_tests.images import pictures

STAGE = StageName.FETCHED_IMAGES
KEYS = [f"s{number}" for number in range(8)]
PROFILE = load_profile("demo")


class Shards:
    """Shards of fetched images, and the schedule over them."""

    def __init__(self, instance: dg.DagsterInstance, data: Path) -> None:
        self.instance = instance
        self.store = ShardStore(data)
        self.data = data

    def fetched(self, *shards: str, reasons: tuple[str | None, ...] = (None, "timeout"), refetches: int = 0) -> None:
        """Materialise shards whose rows have these reasons and which were asked again for so often."""
        code = fingerprints(PROFILE)[STAGE]
        for shard in shards:
            self.write(shard, reasons, refetches)
            self.materialised(shard, code)

    def write(self, shard: str, reasons: tuple[str | None, ...] = (None, "timeout"), refetches: int = 0) -> None:
        """Make a shard's file, as at a terminal: Dagster hears nothing of it."""
        key = StageKey(STAGE, shard, fingerprints(PROFILE)[STAGE], {"source": "x"})
        info = self.store.info(STAGE, shard)
        with stage_writer(self.store, key, ReusedFile(info.content, "all") if info else None) as writer:
            writer.describe(refetches=[{"reasons": ["timeout"]}] * refetches)
            writer.append([row(number, reason) for number, reason in enumerate(reasons)])

    def materialised(self, shard: str, code: str, *, skipped: bool = False) -> None:
        event = dg.AssetMaterialization(
            STAGE.value, partition=shard, tags={"dagster/code_version": code}, metadata={"skipped": skipped}
        )
        self.instance.report_runless_asset_event(event)

    def age(self, shard: str, days: float) -> None:
        """Let the shard's file have been written so many days ago."""
        then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(self.store.path(STAGE, shard).path, (then, then))

    def schedule(self, **changes: Any) -> dg.ScheduleDefinition:
        settings = Settings(data_dir=str(self.data)).model_copy(update=changes)
        return build_refetch_transient(settings, pipeline_of(PROFILE))

    def requests(
        self, days: float = 8, schedule: dg.ScheduleDefinition | None = None, **changes: Any
    ) -> list[dg.RunRequest]:
        """What a tick requests that many days from now, of a schedule that has not ticked yet unless one is given."""
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=datetime.now(UTC) + timedelta(days=days),
            resources={"store": ShardStoreResource(data_dir=str(self.data))},
        ) as context:
            found = (schedule or self.schedule(**changes))(context)
            return [] if isinstance(found, dg.SkipReason) else list(found)

    def tick(self, days: float = 8, **changes: Any) -> list[tuple[str, str]]:
        """First and last shard of each run that a tick requests."""
        tags = [each.tags for each in self.requests(days, **changes)]
        first, last = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
        return [(each[first], each[last]) for each in tags]


def row(number: int, reason: str | None) -> dict[str, Any]:
    status = "rejected" if reason else "ok"
    return {"row": number, "sample_id": str(number), "URL": f"http://a/{number}", "status": status, "reason": reason}


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Shards]:
    with dg.instance_for_test() as instance:  # on disk: a schedule opens it by its reference
        instance.add_dynamic_partitions(SHARDS.name or "", KEYS)
        yield Shards(instance, tmp_path / "data")


def test_old_shards_with_transient_failures_are_asked_for_again_and_no_others(shards: Shards) -> None:
    shards.fetched("s0", "s1", "s5")
    shards.fetched("s2", reasons=(None, "http_4xx", "too_small"))
    shards.fetched("s3", reasons=(None,))
    assert shards.tick() == [("s0", "s1"), ("s5", "s5")]
    assert shards.tick(days=6) == []
    assert shards.tick(days=6, refetch_after_days=5) == [("s0", "s1"), ("s5", "s5")]


def test_a_run_that_skipped_the_file_makes_it_no_younger(shards: Shards) -> None:
    code = fingerprints(PROFILE)[STAGE]
    shards.fetched("s0", "s1")
    shards.age("s0", 30)
    for shard in ("s0", "s1"):
        shards.materialised(shard, code, skipped=True)
    assert shards.tick(days=0) == [("s0", "s0")]
    assert shards.tick(days=8) == [("s0", "s1")]


def test_a_shard_is_asked_for_no_more_often_than_it_may(shards: Shards) -> None:
    shards.fetched("s0", refetches=1)
    shards.fetched("s1", refetches=2)
    assert shards.tick(refetch_times=2) == [("s0", "s0")]
    assert shards.tick(refetch_times=1) == []
    shards.fetched("s0", refetches=2)
    assert shards.tick(refetch_times=2) == []


def test_a_tick_asks_for_no_more_shards_than_its_number_in_runs_of_their_length(shards: Shards) -> None:
    shards.fetched(*KEYS)
    assert shards.tick(refetch_shards=5, shards_per_run=3) == [("s0", "s2"), ("s3", "s4")]


def test_what_can_not_be_asked_for_again_is_left_alone(shards: Shards) -> None:
    shards.fetched("s0", "s1", "s2", "s3")
    shards.materialised("s0", "other settings")  # it is to be fetched as a whole
    (shards.data / STAGE / "s1.parquet").unlink()
    (shards.data / STAGE / "s2.parquet").write_bytes(b"damaged")
    assert shards.tick() == [("s3", "s3")]


def test_a_file_that_changed_without_a_run_is_looked_at_anew(shards: Shards) -> None:
    schedule = shards.schedule(refetch_times=2)
    shards.fetched("s0", "s1")
    path = Path(shards.store.path(STAGE, "s1").path)
    away = path.rename(shards.data / "away")
    assert shards.tick(schedule=schedule) == [("s0", "s0")]
    shards.write("s0", refetches=2)
    assert shards.tick(schedule=schedule) == []
    away.rename(path)
    assert shards.tick(schedule=schedule) == [("s1", "s1")]


def test_files_that_can_not_be_read_use_up_no_tick_after_their_first(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_files, "FILES_PER_TICK", 2)
    schedule = shards.schedule()
    shards.fetched("s0", "s1", "s2", "s3", "s4")
    for shard in ("s0", "s1", "s2"):
        (shards.data / STAGE / f"{shard}.parquet").write_bytes(b"damaged")
    assert shards.tick(schedule=schedule) == []
    assert shards.tick(schedule=schedule) == [("s3", "s3")]
    assert shards.tick(schedule=schedule) == [("s3", "s4")]
    (shards.data / STAGE / "s1.parquet").unlink()
    shards.write("s1")
    assert shards.tick(schedule=schedule) == [("s1", "s1"), ("s3", "s4")]


def test_images_that_their_source_brought_along_are_not_asked_for_again(shards: Shards) -> None:
    source = shards.data / "source"
    source.mkdir(parents=True)
    table = pa.table({"URL": ["http://a/0"], "TEXT": ["text"], "image": [pictures.JPEG[:-20]]})
    pq.write_table(table, source / "s0.parquet")
    settings = Settings(profile="demo", data_dir=str(shards.data), source=str(source))
    (outcome,) = run_shards(settings, ["s0"], NoProgress(), stages=(STAGE,))
    assert outcome.errors == {}
    assert wanted_rows(shards.store, "s0", TRANSIENT) == 1
    shards.materialised("s0", fingerprints(PROFILE)[STAGE])
    shards.fetched("s1", reasons=("truncated",))
    assert shards.tick() == [("s1", "s1")]


def test_a_shard_that_failed_or_is_in_a_run_is_not_requested_again(shards: Shards) -> None:
    @dg.asset(name="fetched_images", partitions_def=SHARDS)
    def failing() -> None:
        raise ValueError

    shards.fetched("s0", "s1")
    dg.materialize([failing], partition_key="s1", instance=shards.instance, raise_on_error=False)
    assert shards.tick() == [("s0", "s0")]


def test_its_runs_ask_the_stage_for_transient_failures_in_words_that_it_takes(shards: Shards) -> None:
    job = build_defs(Settings()).resolve_implicit_global_asset_job_def()
    shards.fetched("s0")
    (request,) = shards.requests()
    assert request.asset_selection == [dg.AssetKey(STAGE.value)]
    assert request.run_config["ops"] == {"fetched_images": {"config": {"retry": ["transient"]}}}
    assert dg.validate_run_config(job.get_subset(asset_selection={dg.AssetKey(STAGE.value)}), request.run_config)


def test_the_schedule_is_off_until_it_is_turned_on() -> None:
    assert build_refetch_transient(Settings(), pipeline_of(PROFILE)).default_status == dg.DefaultScheduleStatus.STOPPED
