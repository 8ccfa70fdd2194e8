"""The removal list, as Dagster injects it."""

import dagster as dg
from pydantic import Field

from laion_coco_assets.publishing.removal_list import RemovalList


class RemovalsResource(dg.ConfigurableResource["RemovalsResource"]):
    """What must not be published (any more)."""

    where: str = Field(default="", description="Text or parquet file, or a folder of such; empty: no list.")

    def get(self) -> RemovalList:
        """The list as it is now; raises UserError when it is named and can not be read."""
        return RemovalList.load(self.where)
