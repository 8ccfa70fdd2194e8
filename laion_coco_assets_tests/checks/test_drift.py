"""A shard is held against what is usual: the median of the shards before it, as far as they spread.

The files are made by hand: `fetched_images` with so many of a hundred rows ok. mutations.py has a drift for each rule.
"""

import os
from pathlib import Path

import dagster as dg
import pytest

from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.checks.drift import EARLIER_SHARDS, LEAST_ROWS, LEAST_SHARDS, Drift
from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.checks.rules import Scope, Severity, all_rules
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.orchestration.asset_checks import build_checks
from laion_coco_assets.resources.removals_resource import RemovalsResource
from laion_coco_assets.resources.store_resource import ShardStoreResource
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.cli.test_cli import laion_coco
from laion_coco_assets_tests.contracts import stage_writer

RULE = "fetched_images_success_drift"
RULES = [rule for rule in all_rules() if rule.name == RULE]
TOO_FEW = f"fewer than {LEAST_SHARDS} earlier shards made with the same settings"


@pytest.fixture(params=["local", "local, key=value", "memory", "memory, key=value"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ShardStore:
    place, _, named = request.param.partition(", ")
    # DuckDB would take the values of such folders for those of columns, `status` among them.
    below = "out/status=ok" if named else "out"
    root = tmp_path if place == "local" else f"memory://drift-{tmp_path.name}-{os.getpid()}"
    return ShardStore(f"{root}/{below}")


def write(store: ShardStore, *successes: int, of: int = 100, first: int = 0, fingerprint: str = "f" * 32) -> list[str]:
    """A shard for each number of rows that are ok."""
    shards = [f"s{i:05}" for i in range(first, first + len(successes))]
    for shard, ok in zip(shards, successes, strict=True):
        with stage_writer(store, StageKey(StageName.FETCHED_IMAGES, shard, fingerprint)) as writer:
            writer.append(
                [
                    {"row": i, "sample_id": f"{i:032x}", "status": "ok" if i < ok else "rejected"}
                    | ({} if i < ok else {"reason": "timeout"})
                    for i in range(of)
                ]
            )
    return shards


def check(store: ShardStore, shard: str) -> RuleResult:
    (result,) = Drift(store).check_shard(shard, RULES)
    return result


def test_a_shard_far_from_the_earlier_ones_is_caught_and_told_what_is_usual(store: ShardStore) -> None:
    *_, last = write(store, 80, 81, 79, 80, 82, 50)
    result = check(store, last)
    assert result.status == Status.FAILED
    (offender,) = result.offenders
    assert (offender.sample_id, offender.expected, offender.actual) == (
        None,
        "0.8 ± 0.1, by the median of 5 earlier shards",
        "0.5",
    )


def test_a_shard_within_the_floor_passes(store: ShardStore) -> None:
    *_, last = write(store, 80, 80, 80, 80, 80, 71)
    assert check(store, last).status == Status.PASSED


def test_what_spreads_wide_may_spread_wide(store: ShardStore) -> None:
    *_, last = write(store, 50, 60, 70, 80, 90, 30)  # MAD 0.1
    assert check(store, last).status == Status.PASSED


def test_one_odd_shard_before_hides_nothing(store: ShardStore) -> None:
    *_, last = write(store, 80, 0, 80, 80, 80, 50)
    assert check(store, last).status == Status.FAILED


def test_later_shards_do_not_count(store: ShardStore) -> None:
    shards = write(store, *[80] * LEAST_SHARDS, 50)
    results = [check(store, shard) for shard in shards[:-1]]
    assert {(each.status, each.why) for each in results} == {(Status.SKIPPED, TOO_FEW)}


def test_shards_of_other_settings_do_not_count(store: ShardStore) -> None:
    write(store, *[80] * LEAST_SHARDS, fingerprint="e" * 32)
    (shard,) = write(store, 50, first=LEAST_SHARDS)
    assert check(store, shard).why == TOO_FEW


def test_small_shards_are_neither_compared_nor_counted(store: ShardStore) -> None:
    write(store, *[20] * LEAST_SHARDS, of=LEAST_ROWS - 1)
    (shard,) = write(store, 80, first=LEAST_SHARDS)
    assert check(store, shard).why == TOO_FEW
    write(store, *[80] * LEAST_SHARDS, first=LEAST_SHARDS + 1)
    (small,) = write(store, 0, of=LEAST_ROWS - 1, first=50)
    assert check(store, small).why == f"fewer than {LEAST_ROWS} rows to measure in fetched_images"


def test_only_the_last_shards_before_are_read(store: ShardStore) -> None:
    write(store, *[10] * (EARLIER_SHARDS + 10))
    *_, last = write(store, *[80] * EARLIER_SHARDS, 80, first=EARLIER_SHARDS + 10)
    assert check(store, last).status == Status.PASSED
    shards = store.shards(StageName.FETCHED_IMAGES)
    for shard in shards[: -EARLIER_SHARDS - 1]:
        store.path(StageName.FETCHED_IMAGES, shard).write_bytes(b"not read")
    assert check(store, last).status == Status.PASSED


def test_a_damaged_file_among_the_earlier_ones_is_left_out(store: ShardStore) -> None:
    shards = write(store, *[80] * LEAST_SHARDS, 80)
    store.path(StageName.FETCHED_IMAGES, shards[0]).write_bytes(b"no parquet")
    assert check(store, shards[-1]).why == TOO_FEW
    assert check(store, shards[0]).why == "the file of fetched_images cannot be read, or its columns are wrong"
    assert check(store, "s99999").why == "no file of fetched_images"


def test_drift_only_warns() -> None:
    assert {rule.severity for rule in all_rules() if rule.scope == Scope.EARLIER} == {Severity.WARN}


def test_the_terminal_says_once_what_was_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(ShardStore(tmp_path), *[80] * 8)
    laion_coco("check", "--data-dir", str(tmp_path), monkeypatch=monkeypatch)
    *_, skipped, verdict = capsys.readouterr().out.splitlines()
    assert skipped.startswith("skipped: ")
    assert skipped.endswith(" rules in 9 shards, for want of files or rows; -v says which and why")
    assert " rules over 8 shards: " in verdict
    laion_coco("check", "--data-dir", str(tmp_path), "-v", monkeypatch=monkeypatch)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped in ")]
    assert f"skipped in s00000, s00001, s00002, s00003, s00004: {TOO_FEW}: {RULE}" in lines
    everywhere = "skipped in s00000, s00001, s00002, s00003, s00004 and 3 more: no file of published: "
    (without,) = [line for line in lines if line.startswith(everywhere)]
    assert "published_length_drift" in without
    assert len(lines) == len({line.rpartition(": ")[0] for line in lines})


def test_each_shard_has_its_warning_in_dagster(tmp_path: Path) -> None:
    shards = write(ShardStore(tmp_path), *[80] * LEAST_SHARDS, 50, 80)
    checks = build_checks(pipeline_of(load_profile("demo")))[0]
    key = dg.AssetCheckKey(dg.AssetKey(StageName.FETCHED_IMAGES.value), RULE)
    resources = {"store": ShardStoreResource(data_dir=str(tmp_path)), "removals": RemovalsResource()}
    with dg.DagsterInstance.ephemeral() as instance:
        defs = dg.Definitions(asset_checks=[checks], resources=resources)
        job = defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(), asset_check_selection={key}
        )
        assert job.execute_in_process(instance=instance).success  # it names no shard: all there are
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    found = [
        record.event.dagster_event.asset_check_evaluation_data
        for record in history
        if record.event is not None and record.event.dagster_event is not None
    ]
    assert {each.severity for each in found} == {dg.AssetCheckSeverity.WARN}
    assert {each.partition: each.passed for each in found} == {
        None: False,
        **dict.fromkeys(shards, True),
        shards[5]: False,
    }
    said = {each.partition: each.metadata for each in found}
    assert said[shards[0]]["skipped"].value == {shards[0]: TOO_FEW}
    assert said[shards[0]]["actual"].value == f"skipped: {TOO_FEW}"
    assert [(said[shard]["expected"].value, said[shard]["actual"].value) for shard in shards[5:]] == [
        ("0.8 ± 0.1, by the median of 5 earlier shards", "0.5"),
        ("0.8 ± 0.1, by the median of 6 earlier shards", "0.8"),
    ]
    assert said[None]["actual"].value == "1 offender in 1 of 7 shards, 5 skipped"
    # What is a number is plotted: a line of zeros tells nothing.
    numbers = dg.IntMetadataValue | dg.FloatMetadataValue
    assert [name for name, value in said[shards[5]].items() if isinstance(value, numbers)] == ["offenders"]
    assert [name for name, value in said[shards[6]].items() if isinstance(value, numbers)] == []
