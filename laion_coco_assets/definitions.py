"""What Dagster loads: the stages, their checks and what they need, for one profile. Binds, and does nothing else."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from laion_coco_assets.assets import blip_candidates, clip_l_top5, fetched_images, published, rn50x64_final
from laion_coco_assets.automation.arrivals import new_shards
from laion_coco_assets.automation.missing import build_missing_shards
from laion_coco_assets.automation.refetch import build_refetch_transient
from laion_coco_assets.contract.profile import load_profile
from laion_coco_assets.orchestration.asset_checks import build_checks
from laion_coco_assets.orchestration.stage import SHARDS
from laion_coco_assets.resources.build import build_resources
from laion_coco_assets.settings import Settings


def build_defs(settings: Settings, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Definitions for a deployment's settings; `overrides` replaces resources by name.

    Raises:
        ProfileError: the profile that the settings name can not be used.
    """
    profile = load_profile(settings.profile)
    stages = (fetched_images, blip_candidates, clip_l_top5, rn50x64_final, published)
    return dg.Definitions(
        assets=[each.build(profile, settings.shards_per_run) for each in stages],
        asset_checks=build_checks(profile, SHARDS),
        resources=build_resources(settings, profile) | dict(overrides or {}),
        sensors=[new_shards],
        schedules=[build_missing_shards(settings, profile), build_refetch_transient(settings, profile)],
        # The stages are a chain, so nothing runs side by side within a run; one process loads each model once a run.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of this deployment: what `dg dev` and a workspace load."""
    return build_defs(Settings.from_environment())
