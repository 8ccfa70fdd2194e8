"""SQL over one stage file, for what the UI shows of it."""

from typing import Any

from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.store.sql import connected, create_stage_view, damaged_files, may_pass
from laion_coco_assets.store.store import ShardStore


def query(store: ShardStore, stage: str, shard: str, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of a query over a stage's file, which the query calls `stage`.

    The file is read in pieces, and only the columns that the query names.

    Raises:
        StoreError: the file does not exist, or is damaged.
        StoreUnavailableError: its file system failed, or memory ran out.
    """
    import duckdb

    try:
        with connected(store) as connection:
            create_stage_view(connection, store, stage, [shard], name="stage")
            rows = connection.execute(sql)
            return [column[0] for column in rows.description or ()], rows.fetchall()
    except duckdb.Error as error:
        if problems := damaged_files(store, [stage], shard):
            raise StoreError(problems[0]) from error
        if may_pass(error):
            raise StoreUnavailableError(f"{stage} of shard {shard}: {str(error).splitlines()[0]}") from error
        raise
