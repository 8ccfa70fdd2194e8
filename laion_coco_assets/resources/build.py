"""The resources of a deployment, by the names under which assets ask for them."""

from typing import Any

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.resources.examples import ExamplesResource
from laion_coco_assets.resources.fetcher import FetcherResource
from laion_coco_assets.resources.models import ModelsResource
from laion_coco_assets.resources.progress import LoggedProgress
from laion_coco_assets.resources.removal_list import RemovalsResource
from laion_coco_assets.resources.store import ShardStoreResource, SourceResource
from laion_coco_assets.settings import Settings


def build_resources(settings: Settings, profile: Profile) -> dict[str, Any]:
    """Resources for these settings. The demo's profile brings its own source and the server that its URLs name."""
    resources: dict[str, Any] = {
        "store": ShardStoreResource(data_dir=settings.data_dir),
        "source": SourceResource(source=settings.source_or_default),
        "fetcher": FetcherResource(
            concurrency=settings.fetch_concurrency,
            lanes=settings.fetch_lanes,
            host_spacing=settings.host_spacing,
            allow_networks=list(settings.allow_networks),
        ),
        "models": ModelsResource(device=settings.device, dtype=settings.dtype, images_at_once=settings.batch_size),
        "removals": RemovalsResource(where=settings.removals),
        "examples_shown": ExamplesResource(thumbnails=settings.thumbnails),
        "progress": LoggedProgress(),
    }
    if profile.name == "demo" and not settings.source:
        from laion_coco_assets.demo.resources import demo_resources

        resources |= demo_resources(settings)
    return resources
