"""Which reasons the ledger may name, and for which stage."""

from pathlib import Path

import pytest

from laion_coco_assets.checks.check_files import check_shard
from laion_coco_assets.checks.results import Status
from laion_coco_assets.checks.rules import all_rules
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer


@pytest.mark.parametrize(
    ("stage", "reason", "status"),
    [
        ("published", "removed", Status.PASSED),
        ("fetched_images", "removed", Status.FAILED),
        ("fetched_images", "dns", Status.PASSED),
        ("published", "dns", Status.FAILED),
    ],
)
def test_a_reason_stands_at_the_stage_that_gives_it(stage: str, reason: str, status: Status, tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with stage_writer(store, StageKey(LEDGER, "s", "any")) as writer:
        writer.append([{"row": 0, "sample_id": "0" * 32, "status": "rejected", "stage": stage, "reason": reason}])
    with stage_writer(store, StageKey(StageName.PUBLISHED, "s", "any")):
        pass  # nothing is published
    (rule,) = [rule for rule in all_rules() if rule.name == "published_ledger_reasons"]
    assert [each.status for each in check_shard(store, "s", [rule])] == [status]
