"""The data card beside the published files: what the columns mean and how the captions were made."""

import json

from laion_coco_assets.contract.columns import column_table
from laion_coco_assets.contract.fingerprint import fingerprints, stage_settings
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import COLUMNS, LAION_COCO_COLUMNS, Stage
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.store import ShardStore


def write_card(store: ShardStore, profile: Profile) -> None:
    """Write `published/README.md`, unless it says the same already. A trial's does not take the place of another one."""
    path = store.root / Stage.PUBLISHED / "README.md"
    text = card(profile)
    if path.exists() and (profile.fetch.max_samples is not None or path.read_text(encoding="utf-8") == text):
        return
    with atomically(path) as local:
        local.write_text(text, encoding="utf-8")


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

{column_table(COLUMNS[Stage.PUBLISHED])}

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
