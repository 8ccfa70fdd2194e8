"""What the removal list names is gone after the next materialisation, with its reason; other shards stay as they are."""

import shutil
from pathlib import Path

import pytest

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.checks.check_files import check_shard
from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.checks.rules import all_rules
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.errors import UserError
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets_tests.conftest import DemoRun, run_demo_shards


@pytest.fixture
def copy(demo: DemoRun, tmp_path: Path) -> DemoRun:
    """The demo's data folder, with a removal list that is empty yet."""
    shutil.copytree(demo.folder, tmp_path / "data")
    (tmp_path / "removals.txt").touch()
    changes = {"data_dir": str(tmp_path / "data"), "removals": str(tmp_path / "removals.txt")}
    return DemoRun(demo.settings.model_copy(update=changes), demo.shards, [])


def _rows(run: DemoRun, stage: str, shard: str) -> list[Row]:
    return list(stage_rows(run.store, stage, shard))


def _check(run: DemoRun, shard: str) -> list[RuleResult]:
    removals = RemovalList.load(run.settings.removals)
    return check_shard(run.store, shard, all_rules(), fingerprints(load_profile("demo")), removals)


def _failed(run: DemoRun, shard: str) -> list[str]:
    return [each.rule.name for each in _check(run, shard) if each.status == Status.FAILED]


def test_removed_rows_are_gone_with_their_reason_and_come_back_without_it(copy: DemoRun) -> None:
    one, other = copy.shards
    before = {shard: _rows(copy, StageName.PUBLISHED, shard) for shard in copy.shards}
    by_url, by_id, *_ = before[one]
    rejected = next(row for row in _rows(copy, LEDGER, one) if row["reason"] == "http_4xx")
    untouched = copy.store.path(StageName.PUBLISHED, other).stat().st_mtime
    removals = Path(copy.settings.removals)
    removals.write_text("\n".join([by_url["URL"], by_id["sample_id"], rejected["URL"], "elsewhere.example"]))
    assert _failed(copy, one) == ["published_removals"]
    again = run_demo_shards(copy.settings)
    assert all(outcome.ok for outcome in again.outcomes), again.outcomes
    assert again.outcomes[1].metadata[StageName.PUBLISHED]["skipped"]
    assert copy.store.path(StageName.PUBLISHED, other).stat().st_mtime == untouched
    assert _rows(copy, StageName.PUBLISHED, one) == before[one][2:]
    ledger = {row["sample_id"]: row for row in _rows(copy, LEDGER, one)}
    for row in (by_url, by_id):
        line = ledger[row["sample_id"]]
        assert (line["status"], line["stage"], line["reason"]) == ("rejected", "published", "removed")
        assert line["detail"].startswith("on the removal list: ")
    assert ledger[rejected["sample_id"]]["reason"] == "http_4xx"
    assert _failed(copy, one) == _failed(copy, other) == []
    removals.write_text("")
    run_demo_shards(copy.settings)
    assert {shard: _rows(copy, StageName.PUBLISHED, shard) for shard in copy.shards} == before


def test_where_a_redirect_led_counts_for_the_rule_as_for_publication(copy: DemoRun) -> None:
    one = copy.shards[0]
    published = {row["sample_id"] for row in _rows(copy, StageName.PUBLISHED, one)}
    fetched = _rows(copy, StageName.FETCHED_IMAGES, one)
    redirected = next(
        row for row in fetched if row["sample_id"] in published and row["final_url"] not in (None, row["URL"])
    )
    Path(copy.settings.removals).write_text(redirected["final_url"])
    (failed,) = (each for each in _check(copy, one) if each.status == Status.FAILED)
    assert failed.rule.name == "published_removals"
    assert redirected["sample_id"] in {each.sample_id for each in failed.offenders}
    again = run_demo_shards(copy.settings)
    assert all(outcome.ok for outcome in again.outcomes), again.outcomes
    assert redirected["sample_id"] not in {row["sample_id"] for row in _rows(copy, StageName.PUBLISHED, one)}
    assert _failed(copy, one) == []


def test_a_domain_empties_the_data_set_and_a_list_that_is_gone_stops_publication(copy: DemoRun) -> None:
    Path(copy.settings.removals).write_text("laion-coco.test\n")
    again = run_demo_shards(copy.settings)
    assert all(outcome.ok for outcome in again.outcomes), again.outcomes
    assert [copy.store.need(StageName.PUBLISHED, shard).rows for shard in copy.shards] == [0, 0]
    Path(copy.settings.removals).unlink()
    with pytest.raises(UserError, match=r"removals\.txt: does not exist"):
        run_demo_shards(copy.settings)


def test_what_was_taken_down_does_not_come_back_because_the_list_was_not_named(copy: DemoRun) -> None:
    gone = _rows(copy, StageName.PUBLISHED, copy.shards[0])[0]["sample_id"]
    Path(copy.settings.removals).write_text(gone)
    assert all(outcome.ok for outcome in run_demo_shards(copy.settings).outcomes)
    before = copy.store.need(StageName.PUBLISHED, copy.shards[0])
    without = run_demo_shards(copy.settings.model_copy(update={"removals": ""}))
    assert [outcome.ok for outcome in without.outcomes] == [False, True]
    assert "leaves out rows by a removal list, and no list is configured now" in without.outcomes[0].errors["published"]
    assert copy.store.need(StageName.PUBLISHED, copy.shards[0]) == before
    Path(copy.settings.removals).write_text("")
    assert all(outcome.ok for outcome in run_demo_shards(copy.settings).outcomes)
    assert gone in {row["sample_id"] for row in _rows(copy, StageName.PUBLISHED, copy.shards[0])}
