"""What a trial made is held against that trial's settings, also by a check that is executed by itself."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

from laion_coco_assets.assets import fingerprints, pipeline_of
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.orchestration.asset_checks import build_checks
from laion_coco_assets.resources.removals_resource import RemovalsResource
from laion_coco_assets.resources.store_resource import ShardStoreResource
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer

PROFILE = load_profile("demo")
CAP = 3
STAGE = StageName.FETCHED_IMAGES
KEY = dg.AssetCheckKey(dg.AssetKey(STAGE.value), "fetched_images_fingerprint")


@pytest.mark.parametrize(
    ("tags", "broken"),
    [({}, {"older", "older trial"}), ({"laion_coco/max_samples": str(CAP)}, {"older", "older trial", "whole"})],
    ids=["executed by itself", "in a trial"],
)
def test_a_trials_file_has_the_fingerprint_of_its_trial(
    tags: Mapping[str, str], broken: set[str], tmp_path: Path
) -> None:
    of_whole, of_trial = (fingerprints(each)[STAGE] for each in (PROFILE, PROFILE.capped(CAP)))
    for shard, fingerprint, said in (
        ("whole", of_whole, {}),
        ("trial", of_trial, {"max_samples": CAP}),
        ("older", "0" * 32, {}),
        ("older trial", "0" * 32, {"max_samples": CAP}),
    ):
        with stage_writer(ShardStore(tmp_path), StageKey(STAGE, shard, fingerprint, {"source": "any"})) as writer:
            writer.describe(**said)
    resources = {"store": ShardStoreResource(data_dir=str(tmp_path)), "removals": RemovalsResource()}
    checks = build_checks(pipeline_of(PROFILE))
    defs = dg.Definitions(asset_checks=checks, resources=resources)
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=set(), asset_check_selection={KEY})
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, tags=dict(tags), raise_on_error=False)
    events = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    assert {each.partition for each in events if each.partition is not None and not each.passed} == broken
