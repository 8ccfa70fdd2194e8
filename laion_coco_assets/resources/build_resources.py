"""The resources of a deployment, by the names under which assets ask for them."""

from collections.abc import Mapping
from typing import Any

from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.contract.extensions import load_object
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.stage_names import STAGE_FOLDERS
from laion_coco_assets.errors import ProfileError
from laion_coco_assets.resources.examples_resource import ExamplesResource
from laion_coco_assets.resources.fetcher_resource import FetcherResource
from laion_coco_assets.resources.logged_progress import LoggedProgress
from laion_coco_assets.resources.models_resource import ModelsResource
from laion_coco_assets.resources.removals_resource import RemovalsResource
from laion_coco_assets.resources.store_resource import ShardStoreResource, SourceResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.stages.pipeline import with_side_files


def build_resources(settings: Settings, profile: Profile) -> dict[str, Any]:
    """Resources for these settings. Those that the profile's key `resources` gives replace the deployment's.

    Raises:
        ProfileError: the key does not name a function that gives resources of these names.
    """
    extensions = [file.name for file in with_side_files(pipeline_of(profile).stages) if file.name not in STAGE_FOLDERS]
    own: dict[str, Any] = {
        "store": ShardStoreResource(data_dir=settings.data_dir, extension_stages=extensions),
        "source": SourceResource(source=settings.source_or_default, formats=list(profile.sources)),
        "fetcher": FetcherResource(deployment_fields=settings.fetch_deployment()),
        "models": ModelsResource(device=settings.device, dtype=settings.dtype, images_at_once=settings.batch_size),
        "removals": RemovalsResource(where=settings.removals),
        "examples_shown": ExamplesResource(thumbnails=settings.thumbnails),
        "progress": LoggedProgress(),
    }
    if not profile.resources:
        return own
    given = load_object(profile.resources, "resources")(settings, profile)
    if not isinstance(given, Mapping) or (unknown := sorted(set(given) - set(own))):
        what = ", ".join(unknown) if isinstance(given, Mapping) else repr(given)
        raise ProfileError(f"resources: {profile.resources} gives {what}; it must give some of: {', '.join(own)}")
    return own | dict(given)
