"""Source shards that are parquet files with the columns URL and TEXT, and perhaps a column of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.files import unreadable
from laion_coco_assets.sources.normalise import find_columns, normalised
from laion_coco_assets.sources.protocol import SourceShard

#: Names of the column of images; of several, the first that holds bytes.
_IMAGES: Final = ("image", "jpg", "png", "webp", "bytes")
_BATCH_ROWS: Final = 1024
_IMAGE_BATCH_ROWS: Final = 16
_READ_BYTES: Final = 1 << 20
_REMEDY: Final = "put the whole file there, or take it out of the source"


class ParquetShard(SourceShard):
    """A parquet file: LAION's own, or img2dataset's or Hugging Face's with the images in it."""

    suffixes = (".parquet",)
    description = "parquet files of URL and TEXT, whose images are fetched unless a column holds them"

    @property
    def rows(self) -> int:
        """Number of rows; raises SourceError for a file that cannot be a source."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def batches(self, start: int = 0) -> Iterator[pa.RecordBatch]:
        """See `SourceShard.batches`."""
        with self._open() as file:
            image = _image_column(file.schema_arrow)
            others = [name for name in dict.fromkeys(file.schema_arrow.names) if name != image]
            batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=others if image else None)
            yield from normalised(self.path, batches, start, images=image is not None)

    @property
    def brings_images(self) -> bool:
        """Whether there is a column of image bytes. Raises SourceError."""
        with self._open() as file:
            return _image_column(file.schema_arrow) is not None

    def images(self, max_bytes: int) -> Iterator[bytes | None]:
        """See `SourceShard.images`."""
        with self._open() as file:
            column = _image_column(file.schema_arrow)
            for batch in file.iter_batches(batch_size=_IMAGE_BATCH_ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    content = value.get("bytes") if isinstance(value, dict) else value
                    yield None if content is None else content[:max_bytes]

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise unreadable(self.path, error) from None
        with stream:
            try:
                # Read in pieces: a row group of images may be larger than memory.
                file = pq.ParquetFile(stream, buffer_size=_READ_BYTES)
            except (pa.ArrowInvalid, OSError) as error:
                raise SourceError(f"{self.path}: not a parquet file, or not a whole one; {_REMEDY} ({error})") from None
            find_columns(self.path, file.schema_arrow, images=_image_column(file.schema_arrow) is not None)
            if file.metadata.num_rows == 0:
                raise SourceError(f"{self.path}: has no rows; remove it from the source")
            try:
                yield file
            except pa.ArrowException as error:
                raise SourceError(f"{self.path}: damaged; {_REMEDY} ({error})") from None


def _image_column(schema: pa.Schema) -> str | None:
    """The column of image bytes, plain or as Hugging Face's structs of bytes and path; None if there is none."""
    for name in _IMAGES:
        for column in schema:
            type_ = column.type
            if pa.types.is_struct(type_) and type_.get_field_index("bytes") >= 0:
                type_ = type_.field("bytes").type
            if column.name.casefold() == name and (pa.types.is_binary(type_) or pa.types.is_large_binary(type_)):
                return str(column.name)
    return None
