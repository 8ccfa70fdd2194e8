"""The data card beside the published files: what the columns mean and how the captions were made."""

import json
import shutil
from typing import Final

import pyarrow as pa

from laion_coco_assets.shards.fingerprint import fingerprints, stage_settings
from laion_coco_assets.shards.profile import Profile
from laion_coco_assets.shards.schemas import LAION_COCO_COLUMNS, PUBLISHED, Stage
from laion_coco_assets.shards.store import ShardStore

#: What each published column holds, in the order of the schema.
COLUMN_NOTES: Final[dict[str, str]] = {
    "URL": "address of the image",
    "TEXT": "the original alt text",
    "top_caption": "the caption that won; one of all_captions",
    "all_captions": "every distinct caption BLIP sampled, best ViT-L/14 similarity first",
    "all_similarities": "cosine similarity of image and caption by the first ranker (ViT-L/14), same order",
    "WIDTH": "width in the source, carried over",
    "HEIGHT": "height in the source, carried over",
    "similarity": "the source's own score of image and alt text, carried over",
    "hash": "LAION's key of URL and TEXT, carried over",
    "pwatermark": "probability of a watermark, carried over",
    "punsafe": "probability of unsafe content, carried over",
    "sample_id": "first 128 bits, hex, of SHA-256 over URL, NUL, TEXT: joins every output of every run",
    "all_multiplicities": "how many of the draws gave this caption, same order as all_captions",
    "rn50x64_similarities": "the second ranker's (RN50x64) similarities of the first (up to five) of all_captions; null with one ranker",
    "alt_text_similarity_vit_l_14": "the first ranker's similarity of image and alt text; null when there is none",
    "alt_text_similarity_rn50x64": "the second ranker's",
    "fingerprint": "hash of every setting and model behind the row",
}


def write_card(store: ShardStore, profile: Profile) -> None:
    """Write `published/README.md`, unless it says the same already."""
    path = store.root / Stage.PUBLISHED / "README.md"
    text = card(profile)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    scratch = store.scratch_dir(path.parent)
    try:
        local = scratch / "README.md"
        local.write_text(text, encoding="utf-8")
        store.publish(local, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def card(profile: Profile) -> str:
    """The card's text, with the front matter that the Hugging Face hub reads."""
    settings = {stage.value: stage_settings(profile, stage) for stage in Stage}
    return f"""---
pretty_name: {json.dumps(profile.publish.title)}
task_categories: [image-to-text, text-to-image]
configs:
  - config_name: default
    data_files: "*.parquet"
---

# {profile.publish.title}

Web images with machine-written captions, made as LAION-COCO was: BLIP samples {profile.caption.candidates} captions for an
image, a first CLIP ({profile.rank.model.name}) scores them all and keeps {profile.rank.keep}, {_second(profile)}.
Rows hold URLs, not images. What became of every source row stands in the ledger beside this folder, with a reason for
each row that is not here.

## Columns

The first {LAION_COCO_COLUMNS} are LAION-COCO's own, with its names and types.

| column | type | what it holds |
| --- | --- | --- |
{_columns()}

## How it was made

Profile `{profile.name}`, fingerprint `{fingerprints(profile)[Stage.PUBLISHED]}`. The revisions of the models that were
loaded stand in each stage file's parquet metadata, under `laion_coco.models`.

```json
{json.dumps(settings, indent=2, sort_keys=True)}
```
"""


def _second(profile: Profile) -> str:
    if profile.final is None:
        return "and the best of these wins"
    return f"and a second one ({profile.final.model.name}) picks the winner"


def _columns() -> str:
    return "\n".join(f"| {each.name} | {_type(each.type)} | {COLUMN_NOTES[each.name]} |" for each in PUBLISHED)


def _type(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"list<{_type(type_.value_type)}>"
    return "float64" if pa.types.is_float64(type_) else str(type_)
