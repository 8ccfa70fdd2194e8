"""The schedule requests what is missing or stale, within its bounds, and nothing twice."""

from collections.abc import Iterator

import dagster as dg
import pytest

from laion_coco_assets.assets import fingerprints, pipeline_of
from laion_coco_assets.automation import missing_shards
from laion_coco_assets.automation.missing_shards import build_missing_shards
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.settings import Settings

KEYS = [f"s{number}" for number in range(10)]
FETCH = {"fetched_images"}
MODELS = {stage.value for stage in StageName} - FETCH


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:  # on disk: a schedule opens it by its reference
        instance.add_dynamic_partitions(SHARDS.name or "", KEYS)
        yield instance


def made(
    instance: dg.DagsterInstance, shards: list[str], stages: tuple[StageName, ...] = tuple(StageName), code: str = ""
) -> None:
    for stage in stages:
        tags = {"dagster/code_version": code or fingerprints(load_profile("demo"))[stage]}
        for shard in shards:
            instance.report_runless_asset_event(dg.AssetMaterialization(stage.value, partition=shard, tags=tags))


def tick(
    instance: dg.DagsterInstance, shards: int = 100, ahead: int = 100, per_run: int = 20
) -> list[tuple[str, str, str]]:
    """First stage, first and last shard of each run that a tick requests."""
    settings = Settings(schedule_shards=shards, schedule_ahead=ahead, shards_per_run=per_run)
    schedule = build_missing_shards(settings, pipeline_of(load_profile("demo")))
    with dg.build_schedule_context(instance=instance) as context:
        found = schedule(context)
    if isinstance(found, dg.SkipReason):
        return []
    requested = []
    for each in found:
        stages = {key.to_user_string() for key in each.asset_selection}
        assert stages in (FETCH, MODELS)
        tags = each.tags
        first, last = tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]
        requested.append(("fetch" if stages == FETCH else "models", first, last))
    return requested


def test_a_tick_fetches_no_more_than_its_number_in_runs_of_their_length(instance: dg.DagsterInstance) -> None:
    assert tick(instance, shards=5, per_run=3) == [("fetch", "s0", "s2"), ("fetch", "s3", "s4")]


def test_fetching_runs_ahead_of_the_models_by_no_more_than_it_may(instance: dg.DagsterInstance) -> None:
    made(instance, KEYS[:4], (StageName.FETCHED_IMAGES,))
    assert tick(instance, shards=3, ahead=6) == [("models", "s0", "s2"), ("fetch", "s4", "s5")]
    assert tick(instance, shards=3, ahead=4) == [("models", "s0", "s2")]


def test_what_is_current_is_left_alone_and_what_is_stale_is_not(instance: dg.DagsterInstance) -> None:
    made(instance, KEYS)
    assert tick(instance) == []
    made(instance, ["s1"], (StageName.CLIP_L_TOP5,), "other settings")
    made(instance, ["s2", "s3"], (StageName.FETCHED_IMAGES,))  # fetched again: what was made of it is stale
    made(instance, ["s7"], (StageName.FETCHED_IMAGES,), "other settings")
    assert tick(instance) == [("models", "s1", "s3"), ("fetch", "s7", "s7")]


def test_a_change_of_the_last_models_settings_is_seen_in_the_first_tick_after_it(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in StageName:
        made(instance, KEYS, (stage,), "other settings" if stage == StageName.RN50X64_FINAL else "")
    monkeypatch.setattr(missing_shards, "EVENTS_PER_TICK", 10)  # of 50: five stages with ten shards each
    assert tick(instance) == [("models", "s0", "s1")]


def test_a_shard_in_a_run_or_failed_is_not_requested_again_and_only_the_former_takes_room(
    instance: dg.DagsterInstance,
) -> None:
    ticks = []

    @dg.asset(name="fetched_images", partitions_def=SHARDS)
    def failing() -> None:
        ticks.append(tick(instance, ahead=3))
        raise ValueError

    dg.materialize([failing], partition_key="s1", instance=instance, raise_on_error=False)
    assert ticks == [[("fetch", "s0", "s0"), ("fetch", "s2", "s2")]]
    assert tick(instance, ahead=3) == [("fetch", "s0", "s0"), ("fetch", "s2", "s3")]


def test_a_shard_that_failed_behind_fetching_takes_no_room(instance: dg.DagsterInstance) -> None:
    made(instance, ["s0", "s1"], (StageName.FETCHED_IMAGES,))

    @dg.asset(name="blip_candidates", partitions_def=SHARDS)
    def failing() -> None:
        raise ValueError

    dg.materialize([failing], partition_key="s0", instance=instance, raise_on_error=False)
    assert tick(instance, ahead=3) == [("models", "s1", "s1"), ("fetch", "s2", "s3")]


def test_the_schedule_is_off_until_it_is_turned_on() -> None:
    schedule = build_missing_shards(Settings(), pipeline_of(load_profile("demo")))
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
