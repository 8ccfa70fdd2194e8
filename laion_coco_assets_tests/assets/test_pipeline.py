"""The demo's shards, end to end: nothing vanishes, runs resume, settings make exactly their stages stale."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.demo.resources import corpus_resources
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.settings import Settings
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.checks.mutations import first, ok, rows, tamper
from laion_coco_assets_tests.conftest import SAMPLES, DemoRun, demo_settings, run_demo_shards
from laion_coco_assets_tests.contracts import SCHEMAS

SMALL = 20


def contents(store: ShardStore, stages: Any = tuple(SCHEMAS)) -> dict[tuple[str, str], str]:
    """What is in every stage file."""
    return {(stage, shard): store.need(stage, shard).content for stage in stages for shard in store.shards(stage)}


def test_every_source_row_ends_where_the_truth_says(demo: DemoRun) -> None:
    truth = pq.read_table(demo.folder / "truth" / "truth.parquet").to_pylist()
    ledger = [row for shard in demo.shards for row in stage_rows(demo.store, LEDGER, shard)]
    assert len(ledger) == len(truth) == SAMPLES
    assert [(row["URL"], row["reason"]) for row in ledger] == [(row["URL"], row["expected_reason"]) for row in truth]


def test_a_second_run_skips_what_is_complete(demo: DemoRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.folder.glob("*/*.parquet")}
    again = run_demo_shards(demo.settings)
    assert all(metadata["skipped"] for each in again.outcomes for metadata in each.metadata.values())
    assert {path: path.stat().st_mtime_ns for path in demo.folder.glob("*/*.parquet")} == before


def test_every_stage_file_names_the_models_that_made_it(demo: DemoRun) -> None:
    for stage, role in (
        (StageName.BLIP_CANDIDATES, "caption"),
        (StageName.CLIP_L_TOP5, "rank"),
        (StageName.RN50X64_FINAL, "final"),
    ):
        metadata = demo.store.need(stage, demo.shards[0]).metadata
        assert metadata["models"][role]["revision"].startswith("local:")
        assert metadata["settings"]["model"]["name"].startswith("laion-coco-demo/")
        assert metadata["device"].endswith("float32")


def test_captions_do_not_depend_on_batch_size_or_shard_or_order(demo: DemoRun, tmp_path: Path) -> None:
    settings = demo_settings(tmp_path, batch_size=3)
    source = tmp_path / "source"
    tables = [pq.read_table(source / f"{shard}.parquet") for shard in demo.shards]
    for file in source.glob("*.parquet"):
        file.unlink()
    rows = [row for table in tables for row in table.to_pylist()]
    reordered = type(tables[0]).from_pylist(rows[::-1], schema=tables[0].schema)
    pq.write_table(reordered.slice(0, 45), source / "other.parquet")
    other = run_demo_shards(settings)
    before = {
        row["sample_id"]: row
        for shard in demo.shards
        for row in stage_rows(demo.store, StageName.BLIP_CANDIDATES, shard)
    }
    # Backwards, the second row of a duplicated URL comes first: that sample is drawn here and not there.
    rows_there = stage_rows(other.store, StageName.BLIP_CANDIDATES, "other")
    drawn = [row for row in rows_there if row["sample_id"] in before]
    assert len(drawn) > 20
    for row in drawn:
        known = before[row["sample_id"]]
        assert (row["captions"], row["multiplicities"]) == (known["captions"], known["multiplicities"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """A small corpus, run once without interruption."""
    return run_demo_shards(demo_settings(tmp_path_factory.mktemp("small"), SMALL))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_goes_on_to_the_same_files(small: DemoRun, tmp_path: Path, how: signal.Signals) -> None:
    demo_settings(tmp_path, SMALL)
    command = [sys.executable, "-m", "laion_coco_assets", "demo", "--data-dir", str(tmp_path), "--samples", str(SMALL)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:  # ends when the process does
            said.append(line)
            if "demo-00000: clip_l_top5" in line:
                process.send_signal(how)
    assert process.returncode == (-how if how == signal.SIGKILL else 130), "".join(said)
    assert "Traceback" not in "".join(said)
    assert not (tmp_path / "published" / "demo-00001.parquet").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert contents(ShardStore(tmp_path)) == contents(small.store)


def materialize(
    run: DemoRun, instance: dg.DagsterInstance, shards: list[str], profile: str = "demo", **arguments: Any
) -> dg.ExecuteInProcessResult:
    """One run over a range of shards, as a backfill makes them."""
    settings = run.settings.model_copy(update={"profile": profile})
    overrides = {"progress": NoProgress(), **corpus_resources(run.settings)}
    defs = build_defs(settings, overrides)
    instance.add_dynamic_partitions(SHARDS.name or "", shards)
    return dg.materialize(
        [*(defs.assets or []), *(defs.asset_checks or [])],  # type: ignore[list-item]
        instance=instance,
        resources=dict(defs.resources or {}),
        tags={
            "dagster/asset_partition_range_start": shards[0],
            "dagster/asset_partition_range_end": shards[-1],
        },
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        **arguments,
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def copy(small: DemoRun, tmp_path: Path) -> DemoRun:
    """The small corpus' data folder, to be changed."""
    shutil.copytree(small.folder, tmp_path / "data")
    return DemoRun(demo_settings(tmp_path / "data", SMALL), small.shards, [])


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """What the only failed step of a run says."""
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data is not None
    return failure.step_failure_data.user_failure_data.description or ""


def test_a_run_over_several_shards_materialises_and_checks_each(copy: DemoRun, instance: dg.DagsterInstance) -> None:
    result = materialize(copy, instance, copy.shards)
    assert result.success
    for stage in StageName:
        assert instance.get_materialized_partitions(dg.AssetKey(stage.value)) == set(copy.shards)
    event = instance.get_latest_materialization_event(dg.AssetKey(StageName.PUBLISHED.value))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["source_rows"].value == SMALL / 2
    evaluations = _evaluations(instance, "published_nothing_vanishes")
    assert {(each.partition, each.passed) for each in evaluations} == {
        (None, True),
        *((shard, True) for shard in copy.shards),
    }


def test_one_bad_shard_fails_alone_and_is_named(copy: DemoRun, instance: dg.DagsterInstance) -> None:
    (Path(copy.settings.source_or_default) / "demo-00000x.parquet").write_bytes(b"no parquet")
    shards = ["demo-00000", "demo-00000x", "demo-00001"]
    result = materialize(copy, instance, shards, selection=[StageName.FETCHED_IMAGES.value])
    assert not result.success
    assert instance.get_materialized_partitions(dg.AssetKey("fetched_images")) == {"demo-00000", "demo-00001"}
    said = _failure(result)
    assert "1 of 3 shards failed\ndemo-00000x: " in said
    assert "not a parquet file" in said


def test_good_shards_of_a_partly_failed_run_say_what_they_were_made_from(
    copy: DemoRun, instance: dg.DagsterInstance
) -> None:
    assert materialize(copy, instance, copy.shards).success
    bad = Path(copy.store.path(StageName.BLIP_CANDIDATES, "demo-00001").path)
    bad.write_bytes(bad.read_bytes()[:-10])
    assert not materialize(copy, instance, copy.shards, selection=[StageName.CLIP_L_TOP5.value]).success
    latest = {
        asset: instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=["demo-00000"]), limit=1
        ).records[0]
        for asset in (StageName.BLIP_CANDIDATES.value, StageName.CLIP_L_TOP5.value)
    }
    made = latest["clip_l_top5"].asset_materialization
    before = latest["blip_candidates"].asset_materialization
    assert made is not None
    assert before is not None
    assert made.tags is not None
    assert before.tags is not None
    assert made.tags["dagster/input_data_version/blip_candidates"] == before.tags["dagster/data_version"]
    assert made.tags["dagster/input_event_pointer/blip_candidates"] == str(latest["blip_candidates"].storage_id)


def test_a_violation_is_seen_at_its_shard(copy: DemoRun, instance: dg.DagsterInstance) -> None:
    assert materialize(copy, instance, copy.shards).success
    ledger = Path(copy.store.path(LEDGER, "demo-00001").path)
    with pq.ParquetFile(ledger) as file:
        table, said = (
            file.read(),
            {key: value for key, value in file.metadata.metadata.items() if key != b"ARROW:schema"},
        )
    with pq.ParquetWriter(ledger, table.schema) as writer:
        writer.write_table(table.slice(1))
        writer.add_key_value_metadata(said)
    defs = build_defs(copy.settings, {"progress": NoProgress(), **corpus_resources(copy.settings)})
    check = dg.AssetCheckKey(dg.AssetKey("published"), "published_nothing_vanishes")
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(), asset_check_selection={check})
    for shard in copy.shards:
        job.execute_in_process(partition_key=shard, instance=instance, raise_on_error=False)
    latest = {each.partition: each for each in _evaluations(instance, check.name) if each.partition}
    assert {shard: each.passed for shard, each in latest.items()} == {"demo-00000": True, "demo-00001": False}
    metadata = latest["demo-00001"].metadata
    assert metadata["expected"].value == "0 offenders"
    assert metadata["actual"].value == f"{metadata['offenders'].value} offenders"
    assert "FROM ledger" in metadata["sql"].value
    head, _, *named = metadata["first_offenders"].value.splitlines()
    assert head == "| shard | sample_id | expected | actual |"
    assert len(named) == min(10, metadata["offenders"].value)
    assert f"| demo-00001 | {table.column('sample_id')[1].as_py()} | row 0 at position 0 | row 1 |" in named


def _break_images(store: ShardStore, shard: str) -> None:
    """Change an image's bytes behind its hash: `fetched_images_content` is there for that."""
    change = rows(first(ok, image=lambda row: row["image"] + b"!"))
    tamper(store, StageName.FETCHED_IMAGES, change, shard)


def test_in_a_run_over_several_shards_a_blocking_check_holds_back_its_shard_alone(
    copy: DemoRun, instance: dg.DagsterInstance
) -> None:
    _break_images(copy.store, "demo-00001")
    result = materialize(copy, instance, copy.shards)
    assert instance.get_materialized_partitions(dg.AssetKey("fetched_images")) == set(copy.shards)
    assert instance.get_materialized_partitions(dg.AssetKey("blip_candidates")) == {"demo-00000"}
    said = _failure(result)
    assert "1 of 2 shards failed\ndemo-00001: held back: broke fetched_images_content" in said
    evaluations = _evaluations(instance, "fetched_images_content", StageName.FETCHED_IMAGES)
    assert {each.partition: each.passed for each in evaluations if each.partition} == {
        "demo-00000": True,
        "demo-00001": False,
    }


def _requested(run: DemoRun, instance: dg.DagsterInstance) -> list[str]:
    """What a tick of the schedule `missing_shards` requests: the first stage and shard of each run."""
    with dg.build_schedule_context(instance=instance) as context:
        found = build_missing_shards(run.settings, pipeline_of(load_profile("demo")))(context)
    return [] if isinstance(found, dg.SkipReason) else [str(each.run_key) for each in found]


def test_the_schedule_goes_on_with_good_shards_of_a_failed_run_and_leaves_the_bad_one_alone(copy: DemoRun) -> None:
    bad, good = copy.shards
    models = [stage.value for stage in StageName if stage != StageName.FETCHED_IMAGES]
    with dg.instance_for_test() as instance:  # on disk: a schedule opens it by its reference
        assert materialize(copy, instance, copy.shards, selection=[StageName.FETCHED_IMAGES.value]).success
        Path(copy.store.path(StageName.FETCHED_IMAGES, bad).path).unlink()
        assert _requested(copy, instance) == [f"blip_candidates {bad}"]
        assert not materialize(copy, instance, copy.shards, selection=models).success
        assert _requested(copy, instance) == [f"blip_candidates {good}"]
        assert materialize(copy, instance, [good], selection=models).success
        assert _requested(copy, instance) == []


def test_in_a_run_over_one_shard_a_blocking_check_stops_the_run(copy: DemoRun, instance: dg.DagsterInstance) -> None:
    _break_images(copy.store, "demo-00001")
    result = materialize(copy, instance, ["demo-00001"])
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["fetched_images_checks"]
    assert instance.get_materialized_partitions(dg.AssetKey("blip_candidates")) == set()
    evaluations = _evaluations(instance, "fetched_images_content", StageName.FETCHED_IMAGES)
    assert {each.partition: each.passed for each in evaluations} == {None: False, "demo-00001": False}


@pytest.mark.parametrize("together", [True, False])
def test_a_blocking_check_of_an_earlier_run_holds_back_its_shard_until_that_is_made_again(
    small: DemoRun, copy: DemoRun, instance: dg.DagsterInstance, together: bool
) -> None:
    good, bad = copy.shards
    runs = [copy.shards] if together else [[good], [bad]]
    _break_images(copy.store, bad)
    for stage in (StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES):
        results = [materialize(copy, instance, shards, selection=[stage.value]) for shards in runs]
        assert not results[-1].success
    assert instance.get_materialized_partitions(dg.AssetKey("blip_candidates")) == {good}
    said = _failure(results[-1])
    assert f"{bad}: held back: broke fetched_images_content" in said

    shutil.copy(
        small.store.path(StageName.FETCHED_IMAGES, bad).path, copy.store.path(StageName.FETCHED_IMAGES, bad).path
    )
    for stage in (StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES):
        assert materialize(copy, instance, runs[-1], selection=[stage.value]).success
    assert instance.get_materialized_partitions(dg.AssetKey("blip_candidates")) == {good, bad}


def test_a_shard_that_is_skipped_still_says_how_fast_it_was_made(copy: DemoRun, instance: dg.DagsterInstance) -> None:
    Path(copy.store.path(StageName.PUBLISHED, copy.shards[0]).path).unlink()
    seen = []
    for _ in range(3):
        assert materialize(copy, instance, copy.shards[:1], selection=[StageName.PUBLISHED.value]).success
        event = instance.get_latest_materialization_event(dg.AssetKey(StageName.PUBLISHED.value))
        assert event is not None
        assert event.asset_materialization is not None
        said = event.asset_materialization.metadata
        seen.append([said[name].value for name in ("skipped", "seconds", "samples_per_second")])
    assert seen == [[False, *seen[0][1:]], [True, *seen[0][1:]], [True, *seen[0][1:]]]


def test_the_demos_profile_over_other_shards_than_the_demos_says_what_to_set(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    pq.write_table(pa.table({"URL": ["http://example.com/a.jpg"], "TEXT": ["x"]}), source / "mine.parquet")
    run = DemoRun(Settings(profile="demo", data_dir=str(tmp_path)), ["mine"], [])
    said = _failure(materialize(run, instance, run.shards, selection=[StageName.FETCHED_IMAGES.value]))
    assert said.startswith(f"fetched_images: 1 of 1 shards failed\nmine: {source} holds other shards than the demo's")
    assert "set LAION_COCO_PROFILE / --profile to laion-coco" in said


def _break_captions(store: ShardStore, shard: str) -> None:
    """Publish a top caption that is none of the candidates: `published_captions` is there for that."""
    tamper(store, StageName.PUBLISHED, rows(first(lambda row: True, top_caption="a caption of nobody")), shard)


@pytest.mark.parametrize(
    ("stage", "damage", "rule"),
    [
        (StageName.FETCHED_IMAGES, _break_images, "fetched_images_content"),
        (StageName.PUBLISHED, _break_captions, "published_captions"),
    ],
)
def test_shards_of_a_run_that_another_one_failed_have_results_of_their_checks(
    copy: DemoRun, instance: dg.DagsterInstance, stage: StageName, damage: Any, rule: str
) -> None:
    broken, good = copy.shards
    damage(copy.store, broken)
    shards = [*copy.shards, "demo-00002"]  # which is not in the source
    result = materialize(copy, instance, shards, selection=[stage.value])
    assert [event.step_key for event in result.all_events if event.is_step_failure] == [stage.value]
    evaluations = _evaluations(instance, rule, stage)
    assert {each.partition: each.passed for each in evaluations} == {good: True, broken: False, None: False}
    assert {len(each.metadata["first_offenders"].value.splitlines()) for each in evaluations if not each.passed} == {3}
    # The UI shows the last one of a shard.
    last = [each for each in evaluations if each.partition][-1]
    assert (last.partition, last.description) == (broken, f"{broken}: 1 offender")


def test_a_shard_of_a_run_that_another_one_failed_is_held_back_from_the_next_run(
    copy: DemoRun, instance: dg.DagsterInstance
) -> None:
    good, broken = copy.shards
    _break_images(copy.store, broken)
    shards = [*copy.shards, "demo-00002"]  # which is not in the source
    assert not materialize(copy, instance, shards, selection=[StageName.FETCHED_IMAGES.value]).success
    said = _failure(materialize(copy, instance, copy.shards, selection=[StageName.BLIP_CANDIDATES.value]))
    assert f"1 of 2 shards failed\n{broken}: held back: broke fetched_images_content" in said
    assert instance.get_materialized_partitions(dg.AssetKey("blip_candidates")) == {good}


def test_what_was_never_checked_is_checked_before_the_next_stage(copy: DemoRun, instance: dg.DagsterInstance) -> None:
    good, broken = copy.shards
    unchecked = dg.AssetSelection.assets(StageName.FETCHED_IMAGES.value).without_checks()
    assert materialize(copy, instance, copy.shards, selection=unchecked).success
    _break_images(copy.store, broken)
    said = _failure(materialize(copy, instance, copy.shards, selection=[StageName.BLIP_CANDIDATES.value]))
    assert f"1 of 2 shards failed\n{broken}: held back: broke fetched_images_content" in said
    assert instance.get_materialized_partitions(dg.AssetKey("blip_candidates")) == {good}
    evaluations = _evaluations(instance, "fetched_images_content", StageName.FETCHED_IMAGES)
    assert {each.partition: each.passed for each in evaluations} == {good: True, broken: False}
    # Checked once: the next run goes by those results.
    assert materialize(copy, instance, [good], selection=[StageName.BLIP_CANDIDATES.value]).success
    assert len(_evaluations(instance, "fetched_images_content", StageName.FETCHED_IMAGES)) == len(evaluations)


def test_a_changed_setting_makes_exactly_its_stages_run_again(copy: DemoRun, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('base = "demo"\n[rank]\nkeep = 3\n')
    before = contents(copy.store)
    changed = DemoRun(copy.settings.model_copy(update={"profile": str(profile)}), copy.shards, [])
    again = run_demo_shards(changed.settings)
    skipped = {stage for stage, metadata in again.outcomes[0].metadata.items() if metadata["skipped"]}
    assert skipped == {StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES}
    after = contents(copy.store)
    same = {key for key in before if before[key] == after[key]}
    assert {stage for stage, _ in same} == {StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES, LEDGER}


def test_a_stage_refuses_files_of_other_settings(copy: DemoRun, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('base = "demo"\n[caption]\nseed = 1\n')
    result = materialize(copy, instance, copy.shards, str(profile), selection=[StageName.CLIP_L_TOP5.value])
    said = _failure(result)
    assert "was made with other settings than this profile's: materialise blip_candidates of shard demo-00000" in said


def _evaluations(instance: dg.DagsterInstance, name: str, stage: StageName = StageName.PUBLISHED) -> list[Any]:
    key = dg.AssetCheckKey(dg.AssetKey(stage.value), name)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    found = [record.event.dagster_event.event_specific_data for record in records[::-1] if record.event]
    return [each for each in found if each is not None]


def test_data_may_lie_on_any_file_system(small: DemoRun) -> None:
    local = small.settings.model_copy(update={"source": small.settings.source_or_default})
    settings = local.model_copy(update={"data_dir": f"memory://elsewhere-{os.getpid()}"})
    (outcome,) = run_shards(settings, ["demo-00000"], NoProgress(), corpus_resources(local))
    assert outcome.ok, outcome
    store = ShardStore(settings.data_dir)
    assert contents(store) == {key: value for key, value in contents(small.store).items() if key[1] == "demo-00000"}
    results = check_shard(store, "demo-00000", all_rules(), fingerprints(load_profile("demo")))
    assert {each.status for each in results} == {Status.PASSED}


def test_one_ranker_may_decide_alone(copy: DemoRun, tmp_path: Path) -> None:
    profile = tmp_path / "single.toml"
    profile.write_text('base = "demo"\nname = "single"\nfinal = false\n')
    settings = copy.settings.model_copy(update={"profile": str(profile)})
    again = run_demo_shards(settings)
    assert all(each.ok for each in again.outcomes)
    published = [row for shard in again.shards for row in stage_rows(again.store, StageName.PUBLISHED, shard)]
    assert published
    assert all(row["top_caption"] == row["all_captions"][0] for row in published)
    assert {row["final_similarities"] for row in published} == {None}
    results = check_shard(again.store, again.shards[0], all_rules(), fingerprints(load_profile(profile)))
    assert {each.status for each in results} == {Status.PASSED}


def test_a_shard_without_a_single_image_is_published_empty(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    table = pa.table({"URL": ["ftp://a/b.jpg", None, "http://10.0.0.1/a.jpg"], "TEXT": ["x", None, "y"]})
    pq.write_table(table, tmp_path / "source" / "dead.parquet")
    settings = Settings(profile="demo", data_dir=str(tmp_path / "data"), source=str(tmp_path / "source"))
    (outcome,) = run_shards(settings, ["dead"], NoProgress())
    assert outcome.ok, outcome
    store = ShardStore(settings.data_dir)
    assert [row["reason"] for row in stage_rows(store, LEDGER, "dead")] == ["scheme", "invalid_url", "blocked_address"]
    assert store.need(StageName.PUBLISHED, "dead").rows == 0
    results = check_shard(store, "dead", all_rules(), fingerprints(load_profile("demo")))
    assert {each.rule.name for each in results if each.status != Status.PASSED} == {"fetched_images_success"}
