"""The numbers that the UI shows of a stage's file: the stage's own figures, and rejected rows by reason."""

from laion_coco_assets.markdown import Markdown, table
from laion_coco_assets.stages.query import query
from laion_coco_assets.stages.stage import Stage
from laion_coco_assets.store.sql import sql_text
from laion_coco_assets.store.store import ShardStore


def figures(store: ShardStore, stage: type[Stage], shard: str) -> dict[str, float | int]:
    """The stage's `figures` of a shard's file, by name. Figures that are null, as in an empty file, are left out."""
    if not stage.figures:
        return {}
    select = ", ".join(f'{sql} AS "{name}"' for name, sql in stage.figures.items())
    names, (values,) = query(store, stage.name, shard, f"SELECT {select} FROM stage")  # noqa: S608  # a class's constants
    numbers = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return {name: value if isinstance(value, int) else round(float(value), 4) for name, value in numbers.items()}


def rejected_by_reason(store: ShardStore, stage: str, shard: str) -> Markdown | str:
    """A table of rejected rows by reason, or "none"."""
    names, rows = query(store, stage, shard, sql_text(__package__, "rejected_by_reason"))
    return table(names, rows, numbers=("rows", "of all")) if rows else "none"
