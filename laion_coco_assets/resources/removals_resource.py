"""The removal list, as Dagster injects it."""

import dagster as dg
from pydantic import Field

from laion_coco_assets.publishing.removal_list import RemovalList


class RemovalsResource(dg.ConfigurableResource["RemovalsResource"]):
    """What must not be published."""

    where: str = Field(default="", description="Text or parquet file, or a folder of them; empty: no list.")

    def get(self) -> RemovalList:
        """The list as it is now; raises UserError if it is configured and cannot be read."""
        return RemovalList.load(self.where)
