"""The arrow contract of each stage's file: one row group streams, one row per sample in source order.

Lists of a row are parallel: `captions[i]`, `multiplicities[i]` and `scores[i]` speak of the same candidate. What each
column holds stands beside it, and is shown in Dagster's UI, on the data card and in data/README.md.
"""

from enum import StrEnum
from typing import Final

import pyarrow as pa

from laion_coco_assets.contract.columns import Column, schema_of


class Stage(StrEnum):
    """The five stages, in pipeline order, and the ledger that is written with the last."""

    FETCHED_IMAGES = "fetched_images"
    BLIP_CANDIDATES = "blip_candidates"
    CLIP_L_TOP5 = "clip_l_top5"
    RN50X64_FINAL = "rn50x64_final"
    PUBLISHED = "published"


#: The ledger's folder beside the stages'; it is written with `published` and is no stage of its own.
LEDGER: Final = "ledger"

_STRING: Final = pa.string()
_INT32: Final = pa.int32()
_INT64: Final = pa.int64()
_FLOAT64: Final = pa.float64()
_STRINGS: Final = pa.list_(_STRING)
_INTS: Final = pa.list_(_INT32)
_FLOATS: Final = pa.list_(_FLOAT64)

_ROW: Final = Column("row", _INT64, "index in the source file, from 0", nullable=False)
_SAMPLE_ID: Final = Column(
    "sample_id",
    _STRING,
    "first 128 bits, hex, of SHA-256 over URL, NUL, TEXT: joins every output of every run",
    nullable=False,
)
_URL: Final = Column("URL", _STRING, "address of the image")
_TEXT: Final = Column("TEXT", _STRING, "the original alt text")

#: Columns of the source that LAION's releases carry and LAION-COCO carries on, with the types it published.
_CARRIED_OVER: Final = (
    Column("WIDTH", _INT64, "width in the source, carried over"),
    Column("HEIGHT", _INT64, "height in the source, carried over"),
    Column("similarity", _FLOAT64, "the source's own score of image and alt text, carried over"),
    Column("hash", _INT64, "LAION's key of URL and TEXT, carried over"),
    Column("pwatermark", _FLOAT64, "probability of a watermark, carried over"),
    Column("punsafe", _FLOAT64, "probability of unsafe content, carried over"),
)
CARRIED_OVER: Final[dict[str, pa.DataType]] = {each.name: each.type for each in _CARRIED_OVER}

_SOURCE_COLUMNS: Final = (
    _ROW,
    _SAMPLE_ID,
    _URL,
    _TEXT,
    *_CARRIED_OVER,
    Column("source_extra", _STRING, "every other column of the source, as one JSON object; null if there is none"),
)

#: What `shards.source` yields: the source's rows with names and types normalised.
SOURCE: Final = schema_of(_SOURCE_COLUMNS)

#: The columns of each stage's file, and of the ledger.
COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    Stage.FETCHED_IMAGES: (
        *_SOURCE_COLUMNS,
        Column("status", _STRING, "`ok` or `rejected`", nullable=False),
        Column("reason", _STRING, "why there is no image, from a closed list; null if ok"),
        Column("detail", _STRING, "what exactly was wrong, in words"),
        Column("http_status", _INT32, "null when no response came"),
        Column("final_url", _STRING, "where redirects led; null when no response came"),
        Column("sha256", _STRING, "of image, hex"),
        Column("format", _STRING, "JPEG, PNG, WEBP, GIF or AVIF"),
        Column("image_width", _INT32, "pixels, after EXIF orientation"),
        Column("image_height", _INT32, "pixels, after EXIF orientation"),
        Column("image_bytes", _INT64, "length of image"),
        Column("perceptual_hash", _STRING, "pHash, 16 hex digits; null unless the profile asks for it"),
        Column("md5_matches", pa.bool_(), "whether the bytes have the source's md5; null where it gives none"),
        Column("image", pa.binary(), "the bytes as they were served; null unless ok"),
    ),
    Stage.BLIP_CANDIDATES: (
        _ROW,
        _SAMPLE_ID,
        Column("captions", _STRINGS, "the distinct captions that were sampled, in sampling order", nullable=False),
        Column("multiplicities", _INTS, "how many of the draws gave this caption, same order", nullable=False),
        Column("token_counts", _INTS, "tokens after the prompt, the end not counted, same order", nullable=False),
        Column("reason", _STRING, "`no_caption` when every draw was empty, `decode_error`; else null"),
    ),
    Stage.CLIP_L_TOP5: (
        _ROW,
        _SAMPLE_ID,
        Column("scores", _FLOATS, "cosine similarity of image and every caption, in sampling order", nullable=False),
        Column("top", _INTS, "the best captions, as indices into captions, best first", nullable=False),
        Column("top_captions", _STRINGS, "the captions of top", nullable=False),
        Column("top_scores", _FLOATS, "the scores of top", nullable=False),
        Column("alt_text_score", _FLOAT64, "similarity of image and alt text; null when TEXT is null or blank"),
    ),
    Stage.RN50X64_FINAL: (
        _ROW,
        _SAMPLE_ID,
        Column("scores", _FLOATS, "the final ranker's similarities of top; null when the profile has one ranker"),
        Column("winner", _INT32, "index into captions", nullable=False),
        Column("caption", _STRING, "the winner", nullable=False),
        Column("alt_text_score", _FLOAT64, "the final ranker's similarity of image and alt text"),
    ),
    # LAION-COCO's own columns with its names and types, then this project's.
    Stage.PUBLISHED: (
        _URL,
        _TEXT,
        Column("top_caption", _STRING, "the caption that won; one of all_captions"),
        Column(
            "all_captions",
            _STRINGS,
            "every distinct caption that was sampled, best similarity by the first ranker first",
        ),
        Column(
            "all_similarities",
            _FLOATS,
            "similarity of image and caption by the first ranker, same order",
        ),
        *_CARRIED_OVER,
        _SAMPLE_ID,
        Column("sha256", _STRING, "of the image's bytes as they were served, hex", nullable=False),
        Column(
            "all_multiplicities",
            _INTS,
            "how many of the draws gave this caption, same order as all_captions",
            nullable=False,
        ),
        Column(
            "final_similarities",
            _FLOATS,
            "the final ranker's similarities of the first of all_captions, those that the first ranker kept; null with one ranker",
        ),
        Column(
            "alt_text_similarity",
            _FLOAT64,
            "the first ranker's similarity of image and alt text; null when there is none",
        ),
        Column(
            "alt_text_final_similarity",
            _FLOAT64,
            "the final ranker's similarity of image and alt text; null when there is none, or with one ranker",
        ),
        Column("fingerprint", _STRING, "hash of every setting and model behind the row", nullable=False),
    ),
    LEDGER: (
        _ROW,
        _SAMPLE_ID,
        _URL,
        Column("status", _STRING, "`published` or `rejected`", nullable=False),
        Column("stage", _STRING, "where the row ended", nullable=False),
        Column("reason", _STRING, "why, from a closed list; null if published"),
        Column("detail", _STRING, "why, in words"),
    ),
}

SCHEMAS: Final[dict[str, pa.Schema]] = {name: schema_of(columns) for name, columns in COLUMNS.items()}

FETCHED_IMAGES: Final = SCHEMAS[Stage.FETCHED_IMAGES]
PUBLISHED: Final = SCHEMAS[Stage.PUBLISHED]

#: How many of PUBLISHED's columns are LAION-COCO's own.
LAION_COCO_COLUMNS: Final = 11
