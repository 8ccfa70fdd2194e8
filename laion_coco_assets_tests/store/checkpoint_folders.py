"""Where a shard's unfinished work lies, for tests that look into it or plant some."""

from upath import UPath

from laion_coco_assets.contract.stage_info import ReusedFile, StageKey
from laion_coco_assets.store.checkpoints import Checkpoints
from laion_coco_assets.store.store import ShardStore


def checkpoint_folder(store: ShardStore, key: StageKey, replacing: ReusedFile | None = None) -> UPath:
    return Checkpoints(store.checkpoints, key, replacing).folder
