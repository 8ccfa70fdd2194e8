"""A column of a stage's file: name, type and what it holds; and how a document shows such columns."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """A column as schemas, Dagster's UI, the data card and data/README.md show it."""

    name: str
    type: pa.DataType
    #: What it holds, in one line. It is not part of the arrow schema, so a better wording changes no file.
    description: str
    nullable: bool = True

    @property
    def type_name(self) -> str:
        """The type as people write it: list<float64>, not list<element: double>."""
        return _type_name(self.type)


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """The arrow schema of a file with these columns."""
    return pa.schema([pa.field(column.name, column.type, nullable=column.nullable) for column in columns])


def column_table(columns: Iterable[Column]) -> str:
    """The columns as a markdown table."""
    lines = (f"| {column.name} | {_escaped(column.type_name)} | {column.description} |" for column in columns)
    return "\n".join(["| column | type | what it holds |", "| --- | --- | --- |", *lines])


def _type_name(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"list<{_type_name(type_.value_type)}>"
    return "float64" if pa.types.is_float64(type_) else str(type_)


def _escaped(type_name: str) -> str:
    return type_name.replace("<", "\\<").replace(">", "\\>")  # or markdown reads it as a tag
