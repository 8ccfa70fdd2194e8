"""Which source files changed after their images were fetched: found by date and size, confirmed by content.

How each file looked when it was first seen is kept beside the stages, in `<data>/.sources.parquet`. Nothing here reads a
file that looks as it did, so that tens of thousands of them are compared in a moment.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.errors import StoreError
from laion_coco_assets.sources.source import SourceShard
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.store import ShardStore

RECORD: Final = ".sources.parquet"

_SCHEMA: Final = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),  # as the listing told when the content was known to be right
        pa.field("changed_version", pa.string()),  # the version last compared, where its content was another
        pa.field("changed_content", pa.string()),  # that content's digest
    ]
)


@dataclass(frozen=True)
class ChangedSource:
    """A source file that holds something else than what its shard's images were fetched from (digests of content)."""

    shard: str
    path: str
    fetched_from: str
    content: str


@dataclass(frozen=True)
class SourceChanges:
    """`changed`: all shards known to be so; `news`: those first found now; `waiting`: how many were not compared yet."""

    changed: tuple[str, ...]
    news: tuple[ChangedSource, ...]
    waiting: int


@dataclass(frozen=True)
class _Seen:
    version: str
    changed_version: str | None = None
    changed_content: str | None = None


def find_changes(
    store: ShardStore, sources: Mapping[str, SourceShard], registered: Collection[str], at_most: int = 100
) -> SourceChanges:
    """Compare the registered shards' files with how they were when first seen, and remember how they are.

    A shard whose images have not been fetched has not changed: nothing was made from what was there before.

    Args:
        store: where the stage files lie; the record is kept there.
        sources: the source as it is listed now.
        registered: keys of the shards that are partitions.
        at_most: files that are opened in this call; the others wait for their turn in the next ones.

    Raises:
        SourceError: a file that can not be read.
    """
    before = _load(store)
    after: dict[str, _Seen] = {}
    suspects: dict[str, str] = {}
    for shard in [*before, *(shard for shard in sources if shard not in before)]:
        if shard not in registered:
            continue
        if shard not in sources:  # a listing may lack a file for a moment; when it is back, it is held against this
            after[shard] = before[shard]
            continue
        version = sources[shard].version
        seen = before.get(shard, _Seen(version))
        if seen == _Seen(version):
            after[shard] = seen
        else:
            suspects[shard] = version
    turn = dict(list(suspects.items())[:at_most])
    after |= {shard: before[shard] for shard in suspects if shard not in turn}
    news = []
    for shard, version in turn.items():  # to the end of the record: those not looked at now come first next time
        after[shard], change = _compare(store, sources[shard], before[shard], version)
        news += [change] if change else []
    if list(after.items()) != list(before.items()):
        _save(store, after)
    known = {shard for shard, version in suspects.items() if after[shard].changed_version == version}
    changed = tuple(shard for shard in sources if shard in known)
    return SourceChanges(changed, tuple(news), len(suspects.keys() - turn.keys() - known))


def _compare(store: ShardStore, source: SourceShard, seen: _Seen, version: str) -> tuple[_Seen, ChangedSource | None]:
    """What is now known of a file that looks another, and the change if it is news."""
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
        info = store.info(Stage.FETCHED_IMAGES, shard)
    except StoreError:  # a damaged file is made anew, from what is there now
        return None
    return None if info is None else info.key.inputs.get("source")


def _load(store: ShardStore) -> dict[str, _Seen]:
    path = store.root / RECORD
    if not path.exists():
        return {}
    try:
        rows = pq.read_table(io.BytesIO(path.read_bytes()), schema=_SCHEMA).to_pylist()
    except (pa.ArrowException, OSError):  # a record, no source of truth: what is there now is what was first seen
        return {}
    return {row.pop("shard"): _Seen(**row) for row in rows}


def _save(store: ShardStore, record: Mapping[str, _Seen]) -> None:
    rows = [{"shard": shard, **vars(seen)} for shard, seen in record.items()]
    with atomically(store.root / RECORD) as local:
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), local)
