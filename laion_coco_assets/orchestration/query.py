"""SQL over one stage file, for what the UI shows of it."""

from typing import Any

import pyarrow as pa

from laion_coco_assets.contract.schemas import SCHEMAS
from laion_coco_assets.store.store import ShardStore


def query(store: ShardStore, stage: str, shard: str, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names and rows of a query over the file (`stage`, which it may name once); it streams through, without its images."""
    import duckdb

    columns = [name for name in SCHEMAS[stage].names if name != "image"]
    schema = pa.schema([SCHEMAS[stage].field(name) for name in columns])
    with duckdb.connect() as connection:
        batches = store.batches(stage, shard, columns, rows=10_000)
        connection.register("stage", pa.RecordBatchReader.from_batches(schema, batches))
        rows = connection.execute(sql)
        return [each[0] for each in rows.description or ()], rows.fetchall()
