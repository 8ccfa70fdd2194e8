"""The shard store and the source, as Dagster injects them."""

import dagster as dg
from pydantic import Field

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.source import SourceShard, find_source, list_sources
from laion_coco_assets.store.store import ShardStore


class ShardStoreResource(dg.ConfigurableResource["ShardStoreResource"]):
    """Where stage files lie."""

    data_dir: str = Field(description="Folder or fsspec URL below which every stage has its folder.")

    def get(self) -> ShardStore:
        """The store of this folder."""
        return ShardStore(self.data_dir)


class SourceResource(dg.ConfigurableResource["SourceResource"]):
    """Where source shards lie."""

    source: str = Field(
        description="File, folder, glob or fsspec URL of parquet with columns URL and TEXT, or of images."
    )

    def shards(self) -> dict[str, SourceShard]:
        """Every source shard by its key, in order; raises SourceError."""
        return list_sources(self.source)

    def shard(self, key: str) -> SourceShard:
        """One source shard; raises SourceError when the source does not have it (any more)."""
        found = find_source(self.source, key)
        if found is None:
            raise SourceError(
                f"shard {key!r} is not in the source {self.source!r}: put its file back, or remove the shard"
            )
        return found
