"""The image fetcher, as Dagster injects it."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.fetcher import Fetcher
from laion_coco_assets.shards.profile import FetchSettings


class FetcherResource(dg.ConfigurableResource["FetcherResource"]):
    """Images over HTTP, within what this deployment may do."""

    concurrency: int = Field(default=64, description="Requests in flight.")
    allow_networks: list[str] = Field(
        default_factory=list, description="Private networks that may be connected to; none unless named."
    )

    @contextmanager
    def open(self, settings: FetchSettings) -> Iterator[Fetcher]:
        """A fetcher for a profile's settings."""
        with Fetcher(settings, self.deployment()) as fetcher:
            yield fetcher

    def deployment(self) -> FetchDeployment:
        """What this deployment allows."""
        return FetchDeployment(concurrency=self.concurrency, allow_networks=tuple(self.allow_networks))
