"""The contracts of the built-in stages' files, for tests that write or read such files themselves."""

from laion_coco_assets.assets import STAGES
from laion_coco_assets.contract.stage_info import ReusedFile, StageKey
from laion_coco_assets.stages.pipeline import with_side_files
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets.store.writer import StageWriter

COLUMNS = {file.name: file.columns for file in with_side_files(STAGES)}
SCHEMAS = {file.name: file.schema() for file in with_side_files(STAGES)}
FETCHED_IMAGES = SCHEMAS["fetched_images"]
PUBLISHED = SCHEMAS["published"]


def stage_writer(
    store: ShardStore, key: StageKey, replacing: ReusedFile | None = None, *, keep_others: bool = False
) -> StageWriter:
    """A writer for a built-in stage's file."""
    return store.write(key, SCHEMAS[key.stage], replacing, keep_others=keep_others)
