"""What makes a stage file the right one, and what it says of itself in its parquet metadata. No file is opened here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, Self

import pyarrow.parquet as pq
from upath import UPath

from laion_coco_assets.errors import StoreError

_KEY_PREFIX: Final = "laion_coco."


@dataclass(frozen=True)
class StageKey:
    """What makes a stage file the right one: the settings behind it, and the files it was made from."""

    stage: str
    shard: str
    fingerprint: str
    #: Content digests of the files read, by stage name (`source` for the source shard).
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names the checkpoints that belong to this key, and no others."""
        return short_digest(self.stage, self.shard, self.fingerprint, dict(self.inputs))


@dataclass(frozen=True)
class Replacing:
    """A file that is to be made again, in part from itself."""

    #: Content digest of the file as it is now.
    content: str
    #: Which rows are made again, or with what: parts of one selection never join those of another.
    selection: str


@dataclass(frozen=True)
class StageInfo:
    """What a stage file says of itself in its parquet metadata."""

    key: StageKey
    content: str  # hash of the rows as written: what later stages name as their input
    rows: int
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, file: pq.ParquetFile, path: UPath) -> Self:
        """What this file says; `path` is where it lies.

        Raises:
            StoreError: it was not written by this project.
        """
        raw = file.metadata.metadata or {}
        said = {
            name.decode().removeprefix(_KEY_PREFIX): value.decode()
            for name, value in raw.items()
            if name.decode().startswith(_KEY_PREFIX)
        }
        try:
            inputs = json.loads(said.pop("inputs"))
            key = StageKey(said.pop("stage"), said.pop("shard"), said.pop("fingerprint"), inputs)
            content = said.pop("content")
        except (KeyError, ValueError):
            raise StoreError(f"{path}: parquet, but not written by this project; move it away") from None
        return cls(key, content, file.metadata.num_rows, {name: _decoded(value) for name, value in said.items()})


def file_metadata(key: StageKey, content: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    """What a file of this key and content is given to say, as parquet metadata."""
    said = {
        "stage": key.stage,
        "shard": key.shard,
        "fingerprint": key.fingerprint,
        "inputs": dict(key.inputs),
        "content": content,
        "writer": f"laion_coco_assets {version('laion-coco-assets')}",
        **metadata,
    }
    return {_KEY_PREFIX + name: _encoded(value) for name, value in said.items()}


def short_digest(*material: Any) -> str:
    """16 hex digits that name this material."""
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()[:16]


def _encoded(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
