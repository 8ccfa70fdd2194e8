"""The registry of source formats: those of this package, and those that a profile names."""

import inspect
from collections.abc import Sequence
from typing import Final

from laion_coco_assets.contract.extensions import load_object
from laion_coco_assets.errors import ProfileError
from laion_coco_assets.sources.folder import FolderShard
from laion_coco_assets.sources.parquet import ParquetShard
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.sources.tar import TarShard

#: In order of precedence: the shards of a folder are its files of the first format that has any.
FORMATS: Final[tuple[type[SourceShard], ...]] = (ParquetShard, TarShard, FolderShard)
#: Reads a file whose ending no format has, where that file itself is named as the source.
DEFAULT_FORMAT: Final[type[SourceShard]] = ParquetShard


def load_formats(dotted_paths: Sequence[str]) -> tuple[type[SourceShard], ...]:
    """The format classes that a profile names, each as `package.module:Class`.

    Raises:
        ProfileError: it cannot be loaded, is no subclass of SourceShard, or leaves a method of it unwritten.
    """
    return tuple(_load_format(dotted_path) for dotted_path in dotted_paths)


def _load_format(dotted_path: str) -> type[SourceShard]:
    format_ = load_object(dotted_path, "sources")
    if not (inspect.isclass(format_) and issubclass(format_, SourceShard)):
        raise ProfileError(
            f"sources: {dotted_path!r} is no source format; derive it from {SourceShard.__module__}:SourceShard"
        )
    if unwritten := sorted(getattr(format_, "__abstractmethods__", ())):
        raise ProfileError(f"sources: {dotted_path!r} lacks {' and '.join(unwritten)}")
    return format_
