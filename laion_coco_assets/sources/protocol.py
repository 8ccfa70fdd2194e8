"""The interface of a source format: one class that names its files and reads one shard. It knows no other format."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa
from upath import UPath

from laion_coco_assets.sources.files import content_digest, version_of_file


@dataclass(frozen=True)
class SourceShard(ABC):
    """One shard of a source. A format is a subclass: its class attributes tell a listing which files are its shards.

    A format whose shards are files names their `suffixes`. A format whose shards are folders answers `takes_folder`.
    `rows` and `batches` must be written; a format that brings images also writes `brings_images` and `images`.
    """

    #: Endings of the files that are shards, with the dot: `(".csv",)`. The name before the ending is the shard's key.
    suffixes: ClassVar[tuple[str, ...]] = ()
    #: What these files are, in the plural, for messages: "CSV lists of URLs".
    description: ClassVar[str] = ""

    key: str
    path: UPath
    #: The version that the listing gave when it found the shard; None where no listing did.
    listed: str | None = field(default=None, compare=False)

    @classmethod
    def takes_folder(cls, folder: UPath) -> bool:  # noqa: ARG003  # for subclasses
        """Whether a folder as a whole is one shard. Asked only if the folder has no files of a format listed earlier."""
        return False

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of rows, at least one; raises SourceError for a shard that cannot be read, or has no rows."""

    @abstractmethod
    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """The rows from row `start` on, always in the same order, with schema SOURCE, in batches of bounded size.

        `sources.normalise.normalised` makes them from columns of any casing and type.

        Raises:
            SourceError: the shard cannot be read; the message names the file.
        """

    @property
    def brings_images(self) -> bool:
        """Whether the source has the images themselves, so that none is fetched. Raises SourceError."""
        return False

    def images(self, max_bytes: int) -> Iterator[bytes | None]:
        """The first `max_bytes` bytes of each row's image, in the order of `batches`; None for a row without an image.

        Called only if `brings_images`. Holds one batch of images in memory at most. Raises SourceError.
        """
        raise NotImplementedError(f"{type(self).__name__} brings no images")

    @property
    def version(self) -> str:
        """What the file system tells of the file without reading it. Another version may be another content.

        Raises:
            SourceError: the file cannot be read.
        """
        return version_of_file(self.path) if self.listed is None else self.listed

    @property
    def digest(self) -> str:
        """Digest of the content (32 hex digits): stages made from other content are stale. Raises SourceError."""
        return content_digest(self.path)
