"""Columns that several stages share, and the schema of source rows. A stage's own columns are in its module.

Lists of a row are parallel: `captions[i]`, `multiplicities[i]` and `scores[i]` are about the same candidate.
"""

from typing import Final

import pyarrow as pa

from laion_coco_assets.contract.columns import Column, schema_of

STRING: Final = pa.string()
INT32: Final = pa.int32()
INT64: Final = pa.int64()
FLOAT64: Final = pa.float64()
STRINGS: Final = pa.list_(STRING)
INTS: Final = pa.list_(INT32)
FLOATS: Final = pa.list_(FLOAT64)

ROW: Final = Column("row", INT64, "index in the source file, from 0", nullable=False)
SAMPLE_ID: Final = Column(
    "sample_id",
    STRING,
    "first 128 bits, hex, of SHA-256 over URL, NUL, TEXT: joins every output of every run",
    nullable=False,
)
URL: Final = Column("URL", STRING, "address of the image")
TEXT: Final = Column("TEXT", STRING, "the original alt text")

#: Source columns of LAION's releases that LAION-COCO kept, with the types it published.
CARRIED_OVER_COLUMNS: Final = (
    Column("WIDTH", INT64, "width in the source, carried over"),
    Column("HEIGHT", INT64, "height in the source, carried over"),
    Column("similarity", FLOAT64, "the source's own score of image and alt text, carried over"),
    Column("hash", INT64, "LAION's key of URL and TEXT, carried over"),
    Column("pwatermark", FLOAT64, "probability of a watermark, carried over"),
    Column("punsafe", FLOAT64, "probability of unsafe content, carried over"),
)
CARRIED_OVER: Final[dict[str, pa.DataType]] = {column.name: column.type for column in CARRIED_OVER_COLUMNS}

SOURCE_COLUMNS: Final = (
    ROW,
    SAMPLE_ID,
    URL,
    TEXT,
    *CARRIED_OVER_COLUMNS,
    Column("source_extra", STRING, "every other column of the source, as one JSON object; null if there is none"),
)

#: How many of the published columns, from the first, are LAION-COCO's own.
LAION_COCO_COLUMNS: Final = 11

#: The schema that `sources` yields: the source's rows with normalised names and types.
SOURCE: Final = schema_of(SOURCE_COLUMNS)
