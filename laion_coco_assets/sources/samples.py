"""What tars and folders of images share: files that belong together are a sample, and each sample is a row."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import pyarrow as pa

from laion_coco_assets.contract.shared_columns import SOURCE
from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.sources.sample_rows import sample_row

#: Extensions of pictures, more than are supported: the row of a picture that is not kept has the reason.
PICTURES: Final = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "avif"}
    | {"bmp", "tif", "tiff", "heic", "heif", "jxl", "jp2", "svg"}
)
#: Extensions of the caption and the record beside a picture.
TEXTS: Final = ("txt", "json")
MAX_TEXT_BYTES: Final = 1 << 20
_BATCH_ROWS: Final = 256


@dataclass
class Sample:
    """An image with its caption and record, as far as they exist."""

    #: Folder or tar, then the file's name in it. Percent-encoded, it takes the place of a missing URL.
    name: str
    image: bytes | None = None
    texts: dict[str, bytes] = field(default_factory=dict)  # content by extension, of TEXTS


class SampleShard(SourceShard):
    """A shard with a row for each of its samples, in their order."""

    @abstractmethod
    def samples(self, max_bytes: int) -> Iterator[Sample]:
        """All samples, always in the same order, with at most `max_bytes` bytes of each image. Raises SourceError."""

    @property
    def rows(self) -> int:
        """Number of samples; raises SourceError for what cannot be a source."""
        rows = sum(1 for _ in self.samples(0))
        if rows == 0:
            raise SourceError(f"{self.path}: has no samples; remove it from the source")
        return rows

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """See `SourceShard.batches`."""
        samples = islice(enumerate(self.samples(0)), start, None)
        rows = (sample_row(row, sample.name, sample.texts) for row, sample in samples)
        while batch := list(islice(rows, _BATCH_ROWS)):
            yield pa.RecordBatch.from_pylist(batch, schema=SOURCE)

    @property
    def brings_images(self) -> bool:
        """Always."""
        return True

    def images(self, max_bytes: int) -> Iterator[bytes | None]:
        """See `SourceShard.images`."""
        return (sample.image for sample in self.samples(max_bytes))
