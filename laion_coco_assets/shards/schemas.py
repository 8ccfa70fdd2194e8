"""The arrow contract of each stage's file: one row group streams, one row per sample in source order.

Lists of a row are parallel: `captions[i]`, `multiplicities[i]` and `scores[i]` speak of the same candidate.
"""

from enum import StrEnum
from typing import Final

import pyarrow as pa


class Stage(StrEnum):
    """The five stages, in pipeline order, and the ledger that is written with the last."""

    FETCHED_IMAGES = "fetched_images"
    BLIP_CANDIDATES = "blip_candidates"
    CLIP_L_TOP5 = "clip_l_top5"
    RN50X64_FINAL = "rn50x64_final"
    PUBLISHED = "published"


#: The ledger's folder beside the stages'; it is written with `published` and is no stage of its own.
LEDGER: Final = "ledger"

#: Columns of the source that LAION's releases carry and LAION-COCO carries on, with the types it published.
CARRIED_OVER: Final[dict[str, pa.DataType]] = {
    "WIDTH": pa.int64(),
    "HEIGHT": pa.int64(),
    "similarity": pa.float64(),
    "hash": pa.int64(),
    "pwatermark": pa.float64(),
    "punsafe": pa.float64(),
}

_carried_over = [pa.field(name, type_) for name, type_ in CARRIED_OVER.items()]

#: What `shards.source` yields: the source's rows with names and types normalised.
SOURCE: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # index in the source, from 0
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("URL", pa.string()),
        pa.field("TEXT", pa.string()),
        *_carried_over,
        pa.field("source_extra", pa.string()),  # every other source column, as one JSON object; null if there is none
    ]
)

FETCHED_IMAGES: Final = pa.schema(
    [
        *SOURCE,
        pa.field("status", pa.string(), nullable=False),  # ok | rejected
        pa.field("reason", pa.string()),  # null if ok, else one of fetching.reasons
        pa.field("detail", pa.string()),  # for people: what exactly was wrong
        pa.field("http_status", pa.int32()),  # null when no response came
        pa.field("final_url", pa.string()),  # after redirects; null when no response came
        pa.field("sha256", pa.string()),  # of `image`
        pa.field("format", pa.string()),  # JPEG, PNG, WEBP, GIF, AVIF
        pa.field("image_width", pa.int32()),  # pixels, after EXIF orientation
        pa.field("image_height", pa.int32()),
        pa.field("image_bytes", pa.int64()),
        pa.field("perceptual_hash", pa.string()),  # 16 hex digits; null unless the profile asks for it
        pa.field("md5_matches", pa.bool_()),  # whether the bytes have the source's md5; null where it gives none
        pa.field("image", pa.binary()),  # the bytes as they were served; null unless ok
    ]
)

BLIP_CANDIDATES: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("captions", pa.list_(pa.string()), nullable=False),  # distinct, in sampling order
        pa.field("multiplicities", pa.list_(pa.int32()), nullable=False),  # draws that gave this caption
        pa.field("token_counts", pa.list_(pa.int32()), nullable=False),  # tokens after the prompt, end not counted
        pa.field("reason", pa.string()),  # no_caption when every draw was empty, else null
    ]
)

CLIP_L_TOP5: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("scores", pa.list_(pa.float64()), nullable=False),  # of all candidates, in sampling order
        pa.field("top", pa.list_(pa.int32()), nullable=False),  # the best five, as indices into `captions`, best first
        pa.field("top_captions", pa.list_(pa.string()), nullable=False),
        pa.field("top_scores", pa.list_(pa.float64()), nullable=False),
        pa.field("alt_text_score", pa.float64()),  # null when TEXT is null or blank
    ]
)

RN50X64_FINAL: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("scores", pa.list_(pa.float64())),  # parallel to `top`; null when the profile has one ranker only
        pa.field("winner", pa.int32(), nullable=False),  # index into `captions`
        pa.field("caption", pa.string(), nullable=False),
        pa.field("alt_text_score", pa.float64()),
    ]
)

#: LAION-COCO's own columns with its names and types, then this project's.
PUBLISHED: Final = pa.schema(
    [
        pa.field("URL", pa.string()),
        pa.field("TEXT", pa.string()),
        pa.field("top_caption", pa.string()),
        pa.field("all_captions", pa.list_(pa.string())),  # best ViT-L/14 score first
        pa.field("all_similarities", pa.list_(pa.float64())),
        *_carried_over,
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("all_multiplicities", pa.list_(pa.int32()), nullable=False),  # parallel to all_captions
        pa.field("rn50x64_similarities", pa.list_(pa.float64())),  # of all_captions' first (up to five)
        pa.field("alt_text_similarity_vit_l_14", pa.float64()),
        pa.field("alt_text_similarity_rn50x64", pa.float64()),
        pa.field("fingerprint", pa.string(), nullable=False),
    ]
)

#: How many of PUBLISHED's columns are LAION-COCO's own.
LAION_COCO_COLUMNS: Final = 11

LEDGER_SCHEMA: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("URL", pa.string()),
        pa.field("status", pa.string(), nullable=False),  # published | rejected
        pa.field("stage", pa.string(), nullable=False),  # where the row ended
        pa.field("reason", pa.string()),  # null if published
        pa.field("detail", pa.string()),
    ]
)

SCHEMAS: Final[dict[str, pa.Schema]] = {
    Stage.FETCHED_IMAGES: FETCHED_IMAGES,
    Stage.BLIP_CANDIDATES: BLIP_CANDIDATES,
    Stage.CLIP_L_TOP5: CLIP_L_TOP5,
    Stage.RN50X64_FINAL: RN50X64_FINAL,
    Stage.PUBLISHED: PUBLISHED,
    LEDGER: LEDGER_SCHEMA,
}
