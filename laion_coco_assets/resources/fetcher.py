"""The image fetcher, as Dagster injects it. Importing this module does not import aiohttp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from laion_coco_assets.contract.profile import FetchSettings

if TYPE_CHECKING:
    from laion_coco_assets.fetching.deployment import FetchDeployment
    from laion_coco_assets.fetching.fetcher import Fetcher


class FetcherResource(dg.ConfigurableResource["FetcherResource"]):
    """Images over HTTP, within what this deployment may do."""

    concurrency: int = Field(default=64, description="Requests in flight.")
    lanes: int = Field(default=1, description="Processes that fetch, each host with one of them.")
    host_spacing: float = Field(default=0.0, description="Seconds between the starts of two requests to one host.")
    allow_networks: list[str] = Field(
        default_factory=list, description="Private networks that may be connected to; none unless named."
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

        return FetchDeployment(
            concurrency=self.concurrency,
            lanes=self.lanes,
            host_spacing_s=self.host_spacing,
            allow_networks=tuple(self.allow_networks),
        )
