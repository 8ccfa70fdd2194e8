"""A trial takes no whole shard's place, whatever is left of it."""

from pathlib import Path

import pytest

from laion_coco_assets.errors import StoreError
from laion_coco_assets.shards.profile import load_profile
from laion_coco_assets.shards.schemas import SCHEMAS
from laion_coco_assets.shards.store import ShardStore, StageKey
from laion_coco_assets.shards.trial import keep_whole

WHOLE = load_profile("demo")
TRIAL = WHOLE.capped(3)


@pytest.mark.parametrize("stage", SCHEMAS)
def test_one_file_of_a_whole_shard_refuses_a_trial(stage: str, tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with store.write(StageKey(stage, "s", "f")):
        pass
    with pytest.raises(StoreError, match=rf"{stage}/s\.parquet holds the whole shard, and a trial would replace it"):
        keep_whole(store, "s", TRIAL)
    keep_whole(store, "s", WHOLE)
    keep_whole(store, "other", TRIAL)


@pytest.mark.parametrize("stage", SCHEMAS)
def test_files_of_a_trial_and_damaged_ones_may_be_replaced(stage: str, tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with store.write(StageKey(stage, "s", "f")) as writer:
        writer.describe(max_samples=5)
    keep_whole(store, "s", TRIAL)
    store.path(stage, "s").write_bytes(b"damaged")
    keep_whole(store, "s", TRIAL)
