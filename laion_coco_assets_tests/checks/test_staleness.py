"""A stale shard is told apart from a broken one, and hides no damage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.checks.check_files import check_across, check_shard
from laion_coco_assets.checks.results import RuleResult, Status
from laion_coco_assets.checks.rules import all_rules
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.reasons import TRANSIENT
from laion_coco_assets.contract.shared_columns import CARRIED_OVER_COLUMNS
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.checks.mutations import (
    SHARD,
    Rows,
    both,
    metadata,
    ok,
    plant,
    rows,
    tamper,
    unsorted_tail,
    without_last,
)
from laion_coco_assets_tests.conftest import DemoRun

OF_THE_SOURCE = {"row", "sample_id", "URL", "TEXT", *(column.name for column in CARRIED_OVER_COLUMNS)}
FETCHED_AGAIN = "fetched again, the models have not run since"


@pytest.fixture
def store(demo: DemoRun, tmp_path: Path) -> ShardStore:
    """The demo's files, to be tampered with."""
    shutil.copytree(demo.folder, tmp_path / "data")
    return ShardStore(tmp_path / "data")


def came_after_all(fetched: Rows) -> None:
    """The first image that failed for a reason that may pass is there now, as another row has it."""
    image = next(row for row in fetched if ok(row))
    row = next(row for row in fetched if row["reason"] in TRANSIENT)
    row.update({name: value for name, value in image.items() if name not in OF_THE_SOURCE})


def check(store: ShardStore) -> list[RuleResult]:
    return check_shard(store, SHARD, all_rules(), fingerprints(load_profile("demo")))


def names(results: list[RuleResult], status: Status) -> set[str]:
    return {each.rule.name for each in results if each.status == status}


def test_after_a_refetch_a_shard_is_stale_and_nothing_else(store: ShardStore) -> None:
    tamper(store, StageName.FETCHED_IMAGES, both(came_after_all))
    tamper(store, StageName.FETCHED_IMAGES, metadata(content="again"))
    results = check(store)
    origins = {f"{stage}_fingerprint" for stage in list(StageName)[1:]}
    assert names(results, Status.STALE) == {*origins, "blip_candidates_every_image", "published_ledger_agrees"}
    assert {each.why for each in results if each.status == Status.STALE} == {FETCHED_AGAIN}
    assert names(results, Status.FAILED) == set()


def test_the_same_refetch_is_broken_where_files_claim_to_be_made_from_it(store: ShardStore) -> None:
    tamper(store, StageName.FETCHED_IMAGES, both(came_after_all))
    results = check(store)
    assert names(results, Status.STALE) == set()
    assert names(results, Status.FAILED) == {"blip_candidates_every_image", "published_ledger_agrees"}


def damage_pages(store: ShardStore) -> None:
    path = Path(store.path(StageName.CLIP_L_TOP5, SHARD).path)
    content = bytearray(path.read_bytes())
    content[10:200] = bytes(190)
    path.write_bytes(content)


def cut_short(store: ShardStore) -> None:
    path = Path(store.path(StageName.BLIP_CANDIDATES, SHARD).path)
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (damage_pages, "clip_l_top5_all_scores"),
        (cut_short, "blip_candidates_fingerprint"),
        (lambda store: tamper(store, StageName.CLIP_L_TOP5, metadata(inputs="{}")), "clip_l_top5_fingerprint"),
        (lambda store: tamper(store, StageName.PUBLISHED, rows(unsorted_tail)), "published_captions"),
        (lambda store: tamper(store, LEDGER, metadata(inputs="{}")), "ledger_fingerprint"),
    ],
)
def test_a_stale_shard_hides_no_damage(damage: Callable[[ShardStore], None], rule: str, store: ShardStore) -> None:
    tamper(store, StageName.FETCHED_IMAGES, metadata(content="again"))
    assert names(check(store), Status.FAILED) == set()
    damage(store)
    assert rule in names(check(store), Status.FAILED)


def test_an_interrupted_publication_is_stale(store: ShardStore) -> None:
    """The ledger was written already, and the published file is that of the run before."""
    inputs = dict(store.need(StageName.PUBLISHED, SHARD).key.inputs) | {"rn50x64_final": "before"}
    tamper(store, StageName.PUBLISHED, metadata(inputs=json.dumps(inputs)))
    tamper(store, StageName.PUBLISHED, rows(without_last))
    results = check(store)
    assert names(results, Status.FAILED) == set()
    assert {"published_fingerprint", "ledger_fingerprint", "published_nothing_vanishes"} <= names(results, Status.STALE)
    assert {each.why for each in results if each.status == Status.STALE} == {
        "rn50x64_final was made again, published has not been made since"
    }


def test_a_current_published_file_beside_an_older_ledger_is_broken(store: ShardStore) -> None:
    """The ledger is written first, so no interruption leaves this."""
    inputs = dict(store.need(LEDGER, SHARD).key.inputs) | {"rn50x64_final": "before"}
    tamper(store, LEDGER, metadata(inputs=json.dumps(inputs)))
    results = check(store)
    assert names(results, Status.FAILED) == {"ledger_fingerprint"}
    assert names(results, Status.STALE) == set()


def test_captions_of_a_stale_file_are_not_compared_across_shards(store: ShardStore) -> None:
    plant(store, "blip_candidates_same_everywhere")
    shards = [SHARD, "again"]
    assert names(check_across(store, shards, all_rules()), Status.FAILED) == {"blip_candidates_same_everywhere"}
    tamper(store, StageName.FETCHED_IMAGES, metadata(content="again"), "again")
    assert names(check_across(store, shards, all_rules()), Status.FAILED) == set()
