"""Which source files changed after their images were fetched: found by version, confirmed by content.

How each file looked when it was first seen is kept beside the stages, in `<data>/.sources.parquet`. No file is read that
has the version it had then, so tens of thousands of files are compared in a moment.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.store import ShardStore

RECORD: Final = ".sources.parquet"

_SCHEMA: Final = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),  # by the listing, when the content was known to be right
        pa.field("changed_version", pa.string()),  # the version last compared, if its content was another
        pa.field("changed_content", pa.string()),  # that content's digest
    ]
)


@dataclass(frozen=True)
class ChangedSource:
    """A source file with another content than its shard's images were fetched from (digests of content)."""

    shard: str
    path: str
    fetched_from: str
    content: str


@dataclass(frozen=True)
class SourceChanges:
    """What a comparison tells.

    `changed`: all shards known to have changed; `news`: those that this call found; `waiting`: number of files not
    compared yet.
    """

    changed: tuple[str, ...]
    news: tuple[ChangedSource, ...]
    waiting: int


@dataclass(frozen=True)
class _Seen:
    """A row of the record, without its shard."""

    version: str
    changed_version: str | None = None
    changed_content: str | None = None


def find_changes(
    store: ShardStore, sources: Mapping[str, SourceShard], registered: Collection[str], at_most: int = 100
) -> SourceChanges:
    """Compare the registered shards' files with the record of how they first looked, and update the record.

    A shard whose images have not been fetched has not changed: nothing was made from its earlier content.

    Args:
        store: where the stage files lie; the record is kept there.
        sources: the source as it is listed now.
        registered: keys of the shards that are partitions.
        at_most: files that this call opens at most; later calls get to the others.

    Raises:
        SourceError: a file that cannot be read.
    """
    before = _load(store)
    after, suspects = _by_version(before, sources, registered)
    now = dict(list(suspects.items())[:at_most])
    after |= {shard: before[shard] for shard in suspects if shard not in now}
    news = []
    for shard, version in now.items():  # to the end of the record: those that wait come first next time
        after[shard], change = _compare(store, sources[shard], before[shard], version)
        news += [change] if change else []
    if list(after.items()) != list(before.items()):
        _save(store, after)
    known = {shard for shard, version in suspects.items() if after[shard].changed_version == version}
    changed = tuple(shard for shard in sources if shard in known)
    return SourceChanges(changed, tuple(news), len(suspects.keys() - now.keys() - known))


def _by_version(
    before: Mapping[str, _Seen], sources: Mapping[str, SourceShard], registered: Collection[str]
) -> tuple[dict[str, _Seen], dict[str, str]]:
    """The record of files that look as they did, and the versions of those that do not, in the record's order."""
    unchanged: dict[str, _Seen] = {}
    suspects: dict[str, str] = {}
    for shard in [*before, *(shard for shard in sources if shard not in before)]:
        if shard not in registered:
            continue
        if shard not in sources:  # a listing may lack a file for a moment; when it is back, it is compared with this
            unchanged[shard] = before[shard]
            continue
        version = sources[shard].version
        seen = before.get(shard, _Seen(version))
        if seen == _Seen(version):
            unchanged[shard] = seen
        else:
            suspects[shard] = version
    return unchanged, suspects


def _compare(store: ShardStore, source: SourceShard, seen: _Seen, version: str) -> tuple[_Seen, ChangedSource | None]:
    """The new record of a file with another version, and the change if it is news."""
    fetched_from = _fetched_from(store, source.key)
    if fetched_from is None:
        return _Seen(version), None
    content = seen.changed_content if seen.changed_version == version else None
    content = content or source.digest
    if content == fetched_from:
        return _Seen(version), None
    now = _Seen(seen.version, version, content)
    return now, None if now == seen else ChangedSource(source.key, str(source.path), fetched_from, content)


def _fetched_from(store: ShardStore, shard: str) -> str | None:
    try:
        info = store.info(StageName.FETCHED_IMAGES, shard)
    except StoreError:  # a damaged file is made anew, from the present content
        return None
    return None if info is None else info.key.inputs.get("source")


def _load(store: ShardStore) -> dict[str, _Seen]:
    path = store.root / RECORD
    if not path.exists():
        return {}
    try:
        rows = pq.read_table(io.BytesIO(path.read_bytes()), schema=_SCHEMA).to_pylist()
    except (pa.ArrowException, OSError):  # without a record, the files as they are now count as first seen
        return {}
    return {row.pop("shard"): _Seen(**row) for row in rows}


def _save(store: ShardStore, record: Mapping[str, _Seen]) -> None:
    rows = [{"shard": shard, **vars(seen)} for shard, seen in record.items()]
    with atomically(store.root / RECORD) as local:
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), local)
