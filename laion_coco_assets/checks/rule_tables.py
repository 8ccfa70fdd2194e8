"""The tables that rules read: each stage's rows under its name, and tables about the files, contracts and lists."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from laion_coco_assets.contract.stage_info import StageInfo
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.images.sniff import SUPPORTED
from laion_coco_assets.stages.stage import Stage
from laion_coco_assets.store.sql import create_stage_view, file_columns, file_name, query_columns, sql_text
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The files' infos, by stage and shard.
Infos = Mapping[tuple[str, str], StageInfo]

_FILES: Final = pa.schema(
    [
        ("stage", pa.string()),
        ("shard", pa.string()),
        ("path", pa.string()),
        ("fingerprint", pa.string()),
        ("expected_fingerprint", pa.string()),
        ("content", pa.string()),
        ("rows", pa.int64()),
        ("source_rows", pa.int64()),
        ("max_samples", pa.int64()),
        ("settings", pa.string()),
        ("models", pa.string()),
        ("device", pa.string()),
        ("brings_images", pa.bool_()),
    ]
)
_INPUTS: Final = pa.schema([(name, pa.string()) for name in ("stage", "shard", "input", "content")])
_REASONS: Final = pa.schema([(name, pa.string()) for name in ("stage", "reason")])
_REMOVED: Final = pa.schema([(name, pa.string()) for name in ("shard", "sample_id", "entry")])


def statement(name: str) -> str:
    """The text of `statements/<name>.sql`."""
    return sql_text(__package__, f"statements/{name}")


def create_tables(
    connection: "DuckDBPyConnection",
    store: ShardStore,
    infos: Infos,
    expected: Mapping[str, str],
    files: Sequence[type[Stage]],
    *,
    strict: bool,
) -> set[str]:
    """Make the tables and views that rules read, apart from `removed`.

    Args:
        connection: to the store.
        store: where the files lie.
        infos: of the files that the stages' views are to hold.
        expected: the fingerprint that each stage should have, by a profile.
        files: the stages and what is written with them: their contracts, and what each may reject a sample for.
        strict: leave files whose columns are not their contract's out of the views.

    Returns:
        The stages with such a file; with `strict`, the stages without any other file.
    """
    connection.register("file_records", pa.Table.from_pylist([*_file_records(store, infos, expected)], _FILES))
    connection.execute(statement("tables"))
    inputs = [
        {"stage": stage, "shard": shard, "input": name, "content": content}
        for (stage, shard), info in infos.items()
        for name, content in info.key.inputs.items()
    ]
    connection.register("inputs", pa.Table.from_pylist(inputs, _INPUTS))
    listed = [{"stage": file.name, "reason": reason} for file in files for reason in file.reasons]
    connection.register("reasons", pa.Table.from_pylist(listed, _REASONS))
    connection.register("formats", pa.table({"format": pa.array(SUPPORTED)}))
    return {file.name for file in files if not _create_stage(connection, store, file, infos, strict=strict)}


def create_removed(connection: "DuckDBPyConnection", rows: Sequence[Mapping[str, str]]) -> None:
    """Make the table `removed`: published rows that the removal list names."""
    connection.register("removed", pa.Table.from_pylist([*rows], _REMOVED))


def _create_stage(
    connection: "DuckDBPyConnection", store: ShardStore, file: type[Stage], infos: Infos, *, strict: bool
) -> bool:
    """Make a stage's view; returns whether its files have the contract's columns."""
    stage = file.name
    connection.register("empty", file.schema().empty_table())
    contract = query_columns(connection, "SELECT * FROM empty")
    connection.unregister("empty")
    shards = [shard for other, shard in infos if other == stage]
    columns = {shard: file_columns(connection, store, stage, shard) for shard in shards}
    fitting = [shard for shard in shards if columns[shard] == contract]
    used = fitting if strict else shards
    if used:
        _insert(connection, "contract", stage, contract)
        _insert(connection, "columns", stage, columns[used[0]])
        create_stage_view(connection, store, stage, used, name=f"{stage}_rows")
        connection.execute(statement("stage").format(stage=stage))
    return len(used) > 0 if strict else len(fitting) == len(shards)


def _insert(connection: "DuckDBPyConnection", table: str, stage: str, columns: Sequence[tuple[str, str]]) -> None:
    rows = [(stage, position, name, type_) for position, (name, type_) in enumerate(columns, start=1)]
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)  # noqa: S608  # only names of this module


def _file_records(store: ShardStore, infos: Infos, expected: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for (stage, shard), info in infos.items():
        expected_fingerprint = expected.get(StageName.PUBLISHED if stage == LEDGER else stage)
        yield {
            "stage": stage,
            "shard": shard,
            "path": file_name(store, stage, shard),
            "fingerprint": info.key.fingerprint or None,
            "expected_fingerprint": expected_fingerprint,
            "content": info.content,
            "rows": info.rows,
            "source_rows": info.metadata.get("source_rows"),
            "max_samples": info.metadata.get("max_samples"),
            "settings": json.dumps(info.metadata.get("settings")),
            "models": json.dumps(info.metadata.get("models")),
            "device": info.metadata.get("device"),
            "brings_images": info.metadata.get("brings_images"),
        }
