"""A stage file's key, and what its parquet metadata records. Opens no file."""

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
    """What a stage file must have been made from: its settings, as a fingerprint, and its input files."""

    stage: str
    shard: str
    fingerprint: str
    #: Content digests of the files read, by stage name (`source` for the source shard).
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The name of this key's checkpoints. No other key has it."""
        return short_digest(self.stage, self.shard, self.fingerprint, dict(self.inputs))


@dataclass(frozen=True)
class ReusedFile:
    """An existing file that is made again, in part from its own rows."""

    #: Content digest of the file as it is now.
    content: str
    #: Which rows are made again, or with which models. Checkpoints of one selection are never resumed for another.
    selection: str


@dataclass(frozen=True)
class StageInfo:
    """What a stage file's parquet metadata records."""

    key: StageKey
    content: str  # hash of the rows as written; later stages record it as their input
    rows: int
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, file: pq.ParquetFile, path: UPath) -> Self:
        """The info of this file. `path` names it in errors.

        Raises:
            StoreError: the file was not written by this project.
        """
        raw = file.metadata.metadata or {}
        entries = {
            name.decode().removeprefix(_KEY_PREFIX): value.decode()
            for name, value in raw.items()
            if name.decode().startswith(_KEY_PREFIX)
        }
        try:
            inputs = json.loads(entries.pop("inputs"))
            key = StageKey(entries.pop("stage"), entries.pop("shard"), entries.pop("fingerprint"), inputs)
            content = entries.pop("content")
        except (KeyError, ValueError):
            raise StoreError(f"{path}: parquet, but not written by this project; move it away") from None
        return cls(key, content, file.metadata.num_rows, {name: _decoded(value) for name, value in entries.items()})


def file_metadata(key: StageKey, content: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    """The parquet metadata of a file with this key and content."""
    entries = {
        "stage": key.stage,
        "shard": key.shard,
        "fingerprint": key.fingerprint,
        "inputs": dict(key.inputs),
        "content": content,
        "writer": f"laion_coco_assets {version('laion-coco-assets')}",
        **metadata,
    }
    return {_KEY_PREFIX + name: _encoded(value) for name, value in entries.items()}


def short_digest(*material: Any) -> str:
    """16 hex digits of a hash over these values."""
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()[:16]


def _encoded(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
