"""A schedule of a new code server goes on where the last one stopped, and its state files stay right and small."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.automation import attempts, fetched_files, missing_shards, refetch_transient
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.orchestration.records import SHARDS, latest_materialisations
from laion_coco_assets_tests.automation import test_missing_shards
from laion_coco_assets_tests.automation.test_missing_shards import made
from laion_coco_assets_tests.automation.test_refetch_transient import Shards

STAGE = StageName.FETCHED_IMAGES
KEYS = test_missing_shards.KEYS
#: Each tick is that of a schedule made anew, as a new code server makes it.
tick = test_missing_shards.tick


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(SHARDS.name or "", KEYS)
        yield instance


@pytest.fixture
def shards(instance: dg.DagsterInstance, tmp_path: Path) -> Shards:
    """Of six shards the last one alone has something to ask again for."""
    return six(instance, tmp_path / "data")


def six(instance: dg.DagsterInstance, data: Path) -> Shards:
    shards = Shards(instance, data)
    shards.fetched(*KEYS[:5], reasons=(None,))
    shards.fetched("s5")
    return shards


def state(instance: dg.DagsterInstance, name: str) -> Any:
    (file,) = (Path(instance.root_directory) / "laion_coco").glob(f"{name}*.json")
    return json.loads(file.read_text())


def failed(instance: dg.DagsterInstance, *shards: str) -> None:
    """Run each shard on its own; fetching fails."""

    @dg.asset(name=STAGE.value, partitions_def=SHARDS)
    def failing() -> None:
        raise ValueError

    for shard in shards:
        dg.materialize([failing], partition_key=shard, instance=instance, raise_on_error=False)


def stranded(instance: dg.DagsterInstance, *shards: str) -> None:
    """Run each shard; it is fetched, another one is not, which ends the run before it comes to the models."""
    tags = {"dagster/code_version": fingerprints(load_profile("demo"))[STAGE]}

    @dg.asset(name=STAGE.value, partitions_def=SHARDS)
    def failing(context: dg.AssetExecutionContext) -> None:
        context.log_event(dg.AssetMaterialization(STAGE.value, partition=context.partition_key, tags=tags))
        raise ValueError

    @dg.asset(name=StageName.BLIP_CANDIDATES.value, partitions_def=SHARDS, deps=[failing])
    def behind() -> None: ...

    for shard in shards:
        dg.materialize([failing, behind], partition_key=shard, instance=instance, raise_on_error=False)


def test_files_beyond_those_that_a_tick_opens_are_opened_by_later_ones(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_files, "FILES_PER_TICK", 2)
    assert [shards.tick() for _ in range(3)] == [[], [], [("s5", "s5")]]


def test_materialisations_beyond_those_that_a_tick_reads_are_read_by_later_ones(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refetch_transient, "EVENTS_PER_TICK", 2)
    assert [shards.tick() for _ in range(3)] == [[], [], [("s5", "s5")]]


def test_settings_of_shards_beyond_those_that_a_tick_reads_are_seen_by_later_ones(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(instance, KEYS)
    made(instance, KEYS, (StageName.PUBLISHED,), "other settings")
    monkeypatch.setattr(missing_shards, "EVENTS_PER_TICK", 10)  # two of each stage
    found = [tick(instance, per_run=1) for _ in range(5)]
    assert [len(requests) for requests in found] == [2, 4, 6, 8, 10]


def test_attempts_beyond_those_that_a_tick_reads_are_known_to_have_ended_by_later_ones(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(instance, "s0", "s1", "s2", "s3")
    monkeypatch.setattr(attempts, "EVENTS_PER_TICK", 2)
    assert tick(instance, ahead=4) == [("fetch", "s4", "s5")]  # the two that are not known take room
    assert tick(instance, ahead=4) == [("fetch", "s4", "s7")]


def test_failed_runs_beyond_those_that_a_tick_looks_up_are_looked_up_by_later_ones(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranded(instance, "s0", "s1", "s2")
    monkeypatch.setattr(attempts, "_RUNS_PER_TICK", 1)
    found = [tick(instance, ahead=1, per_run=1) for _ in range(3)]
    assert [len(requests) for requests in found] == [1, 2, 3]


def test_two_code_servers_that_take_turns_know_what_the_other_read(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_files, "FILES_PER_TICK", 2)
    one, other = shards.schedule(), shards.schedule()
    assert [shards.tick(schedule=each) for each in (one, other, one)] == [[], [], [("s5", "s5")]]


def test_two_data_folders_of_one_instance_are_kept_apart(
    shards: Shards, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fetched_files, "FILES_PER_TICK", 2)
    others = six(shards.instance, tmp_path / "others")
    assert [each.tick() for each in (shards, others) * 3] == [[]] * 4 + [[("s5", "s5")]] * 2


@pytest.mark.parametrize("damaged", ["", '{"version":1,"known":{"s0":["1', '{"version":2}', "[]", '{"by_code":[[1]]}'])
def test_a_damaged_state_file_is_dropped_with_a_warning(
    shards: Shards, damaged: str, capfd: pytest.CaptureFixture[str]
) -> None:
    failed(shards.instance, "s7")
    expected = [("s5", "s5")]
    assert shards.tick() == expected
    files = list((Path(shards.instance.root_directory) / "laion_coco").iterdir())
    assert len(files) == 3
    whole = {file: file.read_text() for file in files}
    for file in files:
        file.write_text(damaged)
    capfd.readouterr()
    assert shards.tick() == expected
    said = capfd.readouterr().err
    assert all(f"{file} cannot be used" in said for file in files)
    assert {file: file.read_text() for file in files} == whole


def test_where_nothing_can_be_written_a_process_knows_what_it_read_itself(
    shards: Shards, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (Path(shards.instance.root_directory) / "laion_coco").write_text("in the way")
    monkeypatch.setattr(fetched_files, "FILES_PER_TICK", 2)
    schedule = shards.schedule()
    assert [shards.tick(schedule=schedule) for _ in range(3)] == [[], [], [("s5", "s5")]]
    assert "cannot be written" in capfd.readouterr().err


def test_a_tick_without_state_requests_nothing_that_it_should_not(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(instance.root_directory) / "laion_coco").write_text("in the way")
    made(instance, KEYS)
    failed(instance, "s0", "s1", "s2")
    monkeypatch.setattr(missing_shards, "EVENTS_PER_TICK", 10)
    monkeypatch.setattr(attempts, "EVENTS_PER_TICK", 2)
    assert [tick(instance) for _ in range(3)] == [[]] * 3


def test_state_holds_the_last_materialisation_of_each_shard_and_stage(instance: dg.DagsterInstance) -> None:
    for _ in range(3):
        made(instance, KEYS)
        assert tick(instance) == []
    saved = state(instance, "missing_shards.materialisations")["by_code"].values()
    events = {event for entries in saved for event, *_ in entries}
    assert events == {
        event for each in latest_materialisations(instance, StageName).values() for event in each.values()
    }


def test_state_holds_no_attempts_that_were_made_up_for(instance: dg.DagsterInstance) -> None:
    failed(instance, "s0", "s1")
    tick(instance)
    made(instance, ["s0", "s1"], (STAGE,))
    failed(instance, "s2")
    tick(instance)
    (run,) = instance.get_run_ids(limit=1)
    saved = state(instance, "missing_shards.attempts")
    assert (list(saved["planned"]), saved["failed_at"]) == ([run], {run: [STAGE.value]})


def test_state_holds_no_files_that_are_gone(shards: Shards) -> None:
    shards.fetched("s6")
    (shards.data / STAGE / "s6.parquet").write_bytes(b"damaged")
    shards.tick()
    assert state(shards.instance, "refetch_transient.files")["unreadable"].keys() == {"s6"}
    for shard in ("s0", "s6"):
        (shards.data / STAGE / f"{shard}.parquet").unlink()
    shards.fetched("s7")
    assert shards.tick() == [("s5", "s5"), ("s7", "s7")]
    saved = state(shards.instance, "refetch_transient.files")
    assert (saved["known"].keys(), saved["unreadable"]) == ({"s1", "s2", "s3", "s4", "s5", "s7"}, {})


def test_storage_ids_that_a_wiped_database_gives_again_are_read_again(instance: dg.DagsterInstance) -> None:
    made(instance, KEYS)
    assert tick(instance) == []
    before = latest_materialisations(instance, StageName)
    instance.wipe()
    instance.add_dynamic_partitions(SHARDS.name or "", KEYS)
    made(instance, KEYS, code="other settings")
    assert latest_materialisations(instance, StageName) == before
    assert tick(instance) == [("fetch", "s0", "s9")]
