"""The image fetcher, as Dagster injects it. Importing this module does not import aiohttp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from laion_coco_assets.contract.profile import FetchSettings

if TYPE_CHECKING:
    from laion_coco_assets.fetching.deployment import FetchDeployment
    from laion_coco_assets.fetching.fetcher import Fetcher


class FetcherResource(dg.ConfigurableResource["FetcherResource"]):
    """Fetches images over HTTP, within this deployment's limits."""

    deployment_fields: dict[str, Any] = Field(
        default_factory=dict, description="What differs from the defaults of FetchDeployment, see docs/settings.md."
    )

    @contextmanager
    def open(self, settings: FetchSettings) -> Iterator[Fetcher]:
        """A fetcher for a profile's settings."""
        from laion_coco_assets.fetching.fetcher import Fetcher

        with Fetcher(settings, self.deployment()) as fetcher:
            yield fetcher

    def deployment(self) -> FetchDeployment:
        """What this deployment allows."""
        from laion_coco_assets.fetching.deployment import FetchDeployment

        return FetchDeployment.model_validate(self.deployment_fields)
