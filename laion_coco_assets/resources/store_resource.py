"""The shard store and the source, as Dagster injects them."""

import dagster as dg
from pydantic import Field

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.formats import load_formats
from laion_coco_assets.sources.listing import find_source, list_sources
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.store.store import ShardStore


class ShardStoreResource(dg.ConfigurableResource["ShardStoreResource"]):
    """Where stage files lie."""

    data_dir: str = Field(description="Folder or fsspec URL below which every stage has its folder.")

    extension_stages: list[str] = Field(
        default_factory=list, description="Names of the profile's stages of other packages: they have folders, too."
    )

    def get(self) -> ShardStore:
        """The store of this folder."""
        return ShardStore(self.data_dir, self.extension_stages)


class SourceResource(dg.ConfigurableResource["SourceResource"]):
    """Where source shards lie."""

    source: str = Field(
        description="File, folder, glob or fsspec URL of parquet with columns URL and TEXT, or of images."
    )
    formats: list[str] = Field(
        default_factory=list,
        description="Further source formats as package.module:Class; they go before the formats of this package.",
    )

    def shards(self) -> dict[str, SourceShard]:
        """Every source shard by its key, in order; raises SourceError, or ProfileError for a format."""
        return list_sources(self.source, load_formats(self.formats))

    def shard(self, key: str) -> SourceShard:
        """One source shard; raises SourceError if the source does not have it, ProfileError for a format."""
        shard = find_source(self.source, key, load_formats(self.formats))
        if shard is None:
            raise SourceError(
                f"shard {key!r} is not in the source {self.source!r}: put its file back, or remove the shard"
            )
        return shard
