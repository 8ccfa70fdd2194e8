"""A trial takes the first samples of a shard, says so everywhere, and is never taken for the whole."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.assets import fingerprints, pipeline_of
from laion_coco_assets.automation.missing_shards import build_missing_shards
from laion_coco_assets.checks.check_files import check_shard
from laion_coco_assets.checks.results import Status
from laion_coco_assets.checks.rules import all_rules
from laion_coco_assets.cli.runner import run_shards
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.demo.resources import corpus_resources
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.conftest import DemoRun, demo_settings
from laion_coco_assets_tests.contracts import SCHEMAS, stage_writer

SAMPLES = 20
CAP = 6
#: What a range of shards is asked for with, as a backfill does.
RANGE = {"dagster/asset_partition_range_start": "demo-00000", "dagster/asset_partition_range_end": "demo-00001"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:  # on disk: a schedule opens it by its reference
        instance.add_dynamic_partitions(SHARDS.name or "", ["demo-00000", "demo-00001"])
        yield instance


def materialize(
    run: DemoRun, instance: dg.DagsterInstance, tags: dict[str, str], stages: tuple[StageName, ...] = tuple(StageName)
) -> dg.ExecuteInProcessResult:
    defs = build_defs(run.settings, {"progress": NoProgress(), **corpus_resources(run.settings)})
    return dg.materialize(
        [*(defs.assets or []), *(defs.asset_checks or [])],  # type: ignore[list-item]
        instance=instance,
        resources=dict(defs.resources or {}),
        tags=tags,
        selection=dg.AssetSelection.assets(*(stage.value for stage in stages)),
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data
    return (data.user_failure_data.description if data.user_failure_data else None) or str(data.error)


def requested(run: DemoRun, instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    """First stage and shard of each run that the schedule would start."""
    schedule = build_missing_shards(run.settings, pipeline_of(load_profile("demo")))
    with dg.build_schedule_context(instance=instance) as context:
        found = schedule(context)
    return [] if isinstance(found, dg.SkipReason) else [tuple(each.run_key.split()) for each in found]


def drawn(run: DemoRun) -> dict[tuple[str, int], list[str]]:
    """What was drawn for each image of the first samples, by shard and row."""
    rows = ((shard, row) for shard in run.shards for row in stage_rows(run.store, StageName.BLIP_CANDIDATES, shard))
    return {(shard, row["row"]): row["captions"] for shard, row in rows if row["row"] < CAP}


def test_a_trial_is_on_record_everywhere_and_the_whole_takes_its_place(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = DemoRun(demo_settings(tmp_path, SAMPLES), ["demo-00000", "demo-00001"], [])
    trial = {"laion_coco/max_samples": str(CAP)}
    assert materialize(run, instance, RANGE | trial).success
    for shard in run.shards:
        assert {run.store.need(stage, shard).metadata["max_samples"] for stage in SCHEMAS} == {CAP}
        assert run.store.need(LEDGER, shard).rows == CAP
        results = check_shard(run.store, shard, all_rules(), fingerprints(load_profile("demo").capped(CAP)))
        failed = {each.rule.name for each in results if each.status == Status.FAILED}
        assert failed == {"published_whole_shard"}
    assert f'"max_samples": {CAP}' in (tmp_path / "published" / "README.md").read_text()
    event = instance.get_latest_materialization_event(dg.AssetKey(StageName.PUBLISHED.value))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["max_samples"].value == CAP
    # As after any change of a setting, nothing of it counts as made.
    assert requested(run, instance) == [("fetched_images", "demo-00000")]
    one = {"dagster/partition": "demo-00000"}
    assert materialize(run, instance, one | trial, (StageName.FETCHED_IMAGES,)).success  # skipped, and still a trial's
    assert requested(run, instance) == [("fetched_images", "demo-00000")]
    said = failure(materialize(run, instance, one, (StageName.BLIP_CANDIDATES,)))
    assert f"was made in a trial, of {CAP} samples: materialise fetched_images of shard demo-00000 first" in said

    captions = drawn(run)
    assert captions
    whole = materialize(run, instance, one)
    assert whole.success, [event.event_specific_data for event in whole.all_events if event.is_failure]
    assert drawn(run) == captions
    assert run.store.need(LEDGER, "demo-00000").rows == SAMPLES / 2
    assert not any("max_samples" in run.store.need(stage, "demo-00000").metadata for stage in SCHEMAS)
    assert "max_samples" not in (tmp_path / "published" / "README.md").read_text()
    assert requested(run, instance) == [("fetched_images", "demo-00001")]

    run.store.path(StageName.FETCHED_IMAGES, "demo-00000").unlink()  # as to make room
    said = failure(materialize(run, instance, one | trial))
    assert "blip_candidates/demo-00000.parquet holds the whole shard, and a trial would replace it" in said
    assert run.store.need(LEDGER, "demo-00000").rows == SAMPLES / 2
    said = failure(materialize(run, instance, one | {"laion_coco/max_samples": "ten"}))
    assert said.startswith("tag laion_coco/max_samples: must be a number")


def test_unfinished_work_on_the_whole_shard_outlives_a_trial(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    pq.write_table(pa.table({"URL": ["no URL"] * 9, "TEXT": ["x"] * 9}), tmp_path / "source" / "s.parquet")
    profile = tmp_path / "mine.toml"  # with the fetcher that is no demo's
    profile.write_text('base = "demo"\nname = "mine"\n')
    settings = Settings(profile=str(profile), data_dir=str(tmp_path / "data"), source=str(tmp_path / "source"))
    store = ShardStore(settings.data_dir)
    key = StageKey(
        StageName.FETCHED_IMAGES,
        "s",
        fingerprints(load_profile(str(profile)))[StageName.FETCHED_IMAGES],
        {"source": list_sources(settings.source_or_default)["s"].digest},
    )
    with pytest.raises(KeyboardInterrupt), stage_writer(store, key) as writer:  # noqa: PT012
        writer.append(
            [{"row": row, "sample_id": f"{row:032x}", "status": "failed", "TEXT": "from before"} for row in range(5)]
        )
        raise KeyboardInterrupt

    def fetch(cap: int | None) -> None:
        stages = (StageName.FETCHED_IMAGES,)
        list(run_shards(settings, ["s"], NoProgress(), stages=stages, max_samples=cap))

    fetch(3)
    assert store.need(StageName.FETCHED_IMAGES, "s").rows == 3
    fetch(None)
    texts = [row["TEXT"] for row in stage_rows(store, StageName.FETCHED_IMAGES, "s", ["TEXT"])]
    assert texts == ["from before"] * 5 + ["x"] * 4
