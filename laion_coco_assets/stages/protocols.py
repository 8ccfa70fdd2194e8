"""What stages ask of the resources that a deployment gives them."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from laion_coco_assets.contract.profile import CaptionSettings, FetchSettings, RankerSource
from laion_coco_assets.publishing.removal_list import RemovalList

if TYPE_CHECKING:
    from laion_coco_assets.captioning.interfaces import Captioner, Ranker
    from laion_coco_assets.fetching.fetcher import Fetcher
    from laion_coco_assets.sources.protocol import SourceShard


class Models(Protocol):
    """Captioner and rankers on the deployment's device; each is loaded once per process."""

    @property
    def batch_size(self) -> int:
        """How many images to hand to a model at a time."""

    def captioner(self, settings: CaptionSettings) -> "Captioner":
        """Raises ModelUnavailableError, DeviceError or ProfileError."""

    def ranker(self, source: RankerSource, setting: str) -> "Ranker":
        """`setting` is the section's name, for errors. Raises as `captioner` does."""

    def where(self) -> str:
        """Device and dtype in words, for the record."""


class Source(Protocol):
    """The source shards of a deployment."""

    def shard(self, key: str) -> "SourceShard":
        """Raises SourceError when the source does not have it."""


class FetcherFactory(Protocol):
    """Opens image fetchers within the deployment's limits."""

    def open(self, settings: FetchSettings) -> AbstractContextManager["Fetcher"]:
        """A fetcher for a profile's settings."""


class Removals(Protocol):
    """What must not be published."""

    where: str

    def get(self) -> RemovalList:
        """The current list. Raises UserError when it is configured and cannot be read."""


class ExamplesShown(Protocol):
    """How the UI shows examples of published samples."""

    thumbnails: bool
