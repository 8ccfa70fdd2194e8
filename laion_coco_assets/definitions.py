"""What Dagster loads: the stages, their checks and what they need, for one profile. Binds, and does nothing else."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.automation.missing_shards import build_missing_shards
from laion_coco_assets.automation.new_shards import new_shards
from laion_coco_assets.automation.refetch_transient import build_refetch_transient
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.orchestration.asset import build_asset
from laion_coco_assets.orchestration.asset_checks import build_checks
from laion_coco_assets.resources.build_resources import build_resources
from laion_coco_assets.settings import Settings


def build_defs(settings: Settings, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Definitions for a deployment's settings; `overrides` replaces resources by name.

    Raises:
        ProfileError: the profile that the settings name cannot be used.
    """
    profile = load_profile(settings.profile)
    pipeline = pipeline_of(profile)
    return dg.Definitions(
        assets=[build_asset(pipeline, stage, settings.shards_per_run, settings.owners) for stage in pipeline.stages],
        asset_checks=build_checks(pipeline),
        resources=build_resources(settings, profile) | dict(overrides or {}),
        sensors=[new_shards],
        schedules=[build_missing_shards(settings, pipeline), build_refetch_transient(settings, pipeline)],
        # The stages are a chain, so nothing runs in parallel within a run. One process loads each model once per run.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of this deployment: what `dg dev` and a workspace load."""
    return build_defs(Settings.from_environment())
