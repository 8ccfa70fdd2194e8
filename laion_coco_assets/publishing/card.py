"""The data card beside the published files: what the columns mean and how the captions were made."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from laion_coco_assets.contract.columns import Column, column_table
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.ranker_labels import with_ranker_labels
from laion_coco_assets.contract.shared_columns import LAION_COCO_COLUMNS
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.store import ShardStore


def write_card(
    store: ShardStore, profile: Profile, columns: Sequence[Column], settings: Mapping[str, Any], fingerprint: str
) -> None:
    """Write `published/README.md`, unless it says the same already. A trial's card does not replace an existing one."""
    path = store.root / StageName.PUBLISHED / "README.md"
    text = card(profile, columns, settings, fingerprint)
    if path.exists() and (profile.fetch.max_samples is not None or path.read_text(encoding="utf-8") == text):
        return
    with atomically(path) as local:
        local.write_text(text, encoding="utf-8")


def card(profile: Profile, columns: Sequence[Column], settings: Mapping[str, Any], fingerprint: str) -> str:
    """The card's text, with the front matter that the Hugging Face hub reads.

    `columns` and `fingerprint` are those of the published files, `settings` those of each stage by its name.
    """
    own = {name: values for name, values in settings.items() if values is not None}
    return f"""---
pretty_name: {json.dumps(profile.publish.title)}
task_categories: [image-to-text, text-to-image]
configs:
  - config_name: default
    data_files: "*.parquet"
---

# {profile.publish.title}

Web images with machine-written captions, made by LAION-COCO's procedure: {profile.caption.model.label} writes
{profile.caption.candidates} captions for an image, {_ranking(profile)}.
Rows hold URLs, not images. The ledger beside this folder says what became of every source row, with a reason for each
row that is not here.

## Columns

The first {LAION_COCO_COLUMNS} are LAION-COCO's own, with its names and types.

{column_table(with_ranker_labels(columns, profile))}

## How it was made

Profile `{profile.name}`, fingerprint `{fingerprint}`. Each stage file's parquet metadata
records the revisions of the models that were loaded, under `laion_coco.models`.

```json
{json.dumps(own, indent=2, sort_keys=True)}
```
"""


def _ranking(profile: Profile) -> str:
    if profile.final is None:
        return f"{profile.rank.model.label} scores them all, and the best one wins"
    first, final = profile.ranker_labels
    return f"a first ranker, {first}, scores them all and keeps {profile.rank.keep}, and a final one, {final}, picks the winner"
