"""Which folders of a data folder hold stage files: those of the built-in stages, and others that say so themselves."""

from pathlib import Path

from upath import UPath

from laion_coco_assets.contract.stage_names import STAGE_FOLDERS
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store.stage_file import StageFile
from laion_coco_assets.store.store import ShardStore


def store_as_found(data_dir: str | Path | UPath) -> ShardStore:
    """The store of a data folder, with every stage that has files there, whatever profile made them."""
    return ShardStore(data_dir, extension_folders(ShardStore(data_dir).root))


def extension_folders(root: UPath) -> list[str]:
    """Names of the folders that stages of other packages wrote to: their files name the folder as their stage."""
    if not root.is_dir():
        return []
    return sorted(folder.name for folder in root.iterdir() if _is_stage_folder(folder))


def _is_stage_folder(folder: UPath) -> bool:
    if folder.name in STAGE_FOLDERS or folder.name.startswith(".") or not folder.is_dir():
        return False
    file = next((path for path in folder.iterdir() if path.name.endswith(".parquet")), None)
    if file is None:
        return False
    try:
        info = StageFile(file, folder.name, file.name.removesuffix(".parquet")).info()
    except StoreError:
        return False  # damaged, or not written by this project, such as a source
    return info is not None and info.key.stage == folder.name
