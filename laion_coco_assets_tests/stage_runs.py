"""A built-in stage at work on a shard of the demo, for tests that look at one without a run."""

from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.resources.build_resources import build_resources
from laion_coco_assets.settings import Settings
from laion_coco_assets.stages.stage import Stage, StageRun
from laion_coco_assets.store.store import ShardStore


def stage_of(store: ShardStore, name: str, shard: str) -> Stage:
    """The stage, with the demo's profile, on a shard of this store."""
    profile = load_profile("demo")
    pipeline = pipeline_of(profile)
    resources = build_resources(Settings(profile="demo", data_dir=str(store.root)), profile)
    run = StageRun(profile, pipeline.fingerprints, pipeline.settings, store, resources)
    return pipeline.by_name[name](run, shard)
