"""SQL over stage files: DuckDB connected to a store, and files as views. What is asked of them is the caller's business.

This is the only module that opens stage files for DuckDB. Whatever a data folder is called, a file's columns are those
that it holds: DuckDB would make columns of `key=value` folders, and patterns of wildcards.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_WILDCARD: Final = re.compile(r"[*?\[]")


@contextmanager
def connected(store: ShardStore) -> Iterator["DuckDBPyConnection"]:
    """A DuckDB connection that can read the store's files, closed when the block ends."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        if not store.is_local:
            connection.register_filesystem(store.root.fs)
        yield connection


def create_stage_view(
    connection: "DuckDBPyConnection", store: ShardStore, stage: str, shards: Iterable[str], *, name: str
) -> None:
    """Make the view `name` of a stage's files for these shards, at least one.

    It has the columns of the first file, then `file_row_number` (a row's position in its file, from 0) and `file_name`
    (as `file_name` below gives it).
    """
    files = _read_parquet(store, stage, shards, "file_row_number = true, filename = 'file_name'")
    connection.execute(f'CREATE TEMP VIEW "{name}" AS SELECT * FROM {files}')  # noqa: S608  # paths are quoted


def file_columns(connection: "DuckDBPyConnection", store: ShardStore, stage: str, shard: str) -> list[tuple[str, str]]:
    """Name and DuckDB type of each column that the stage's file has."""
    return query_columns(connection, f"SELECT * FROM {_read_parquet(store, stage, [shard])}")  # noqa: S608  # likewise


def query_columns(connection: "DuckDBPyConnection", query: str) -> list[tuple[str, str]]:
    """Name and DuckDB type of each column that a query returns."""
    return [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {query}").fetchall()]


@cache
def sql_text(package: str, name: str) -> str:
    """The text of a package's file `<name>.sql`."""
    return (resources.files(package) / f"{name}.sql").read_text(encoding="utf-8")


def file_name(store: ShardStore, stage: str, shard: str) -> str:
    """The path of a stage's file, as DuckDB tells it."""
    path = store.path(stage, shard)
    return path.path if store.is_local else f"{path.protocol}://{path.path}"


def damaged_files(store: ShardStore, stages: Iterable[str], shard: str) -> list[str]:
    """What is wrong with a shard's files that cannot be read to their end: read this when a query failed.

    Raises:
        StoreUnavailableError: a file's file system failed.
    """
    problems = []
    for stage in stages:
        try:
            for _ in store.batches(stage, shard):
                pass
        except StoreUnavailableError:
            raise
        except StoreError as error:
            problems.append(str(error))
    return problems


def may_pass(error: Exception) -> bool:
    """Whether a DuckDB error is about the machine or the file system, not about a file."""
    import duckdb

    return isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.HTTPException))


def _read_parquet(store: ShardStore, stage: str, shards: Iterable[str], options: str = "") -> str:
    """SQL that reads these files and no others. A view cannot be prepared with parameters, so it holds the paths."""
    paths: Sequence[str] = [_quoted(_WILDCARD.sub(r"[\g<0>]", file_name(store, stage, shard))) for shard in shards]
    further = f", {options}" if options else ""
    return f"read_parquet([{', '.join(paths)}], hive_partitioning = false{further})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
