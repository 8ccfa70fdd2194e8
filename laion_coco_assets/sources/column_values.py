"""Arrow columns of drifted types, cast to text, to numbers, or to JSON. No value costs a row."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from laion_coco_assets.sources.values import number, plain


def decoded(column: pa.Array) -> pa.Array:
    """A dictionary-encoded column as a plain one; any other column as it is."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def is_textual(type_: pa.DataType) -> bool:
    """Whether `as_strings` takes a column of this type."""
    is_string = pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    is_binary = pa.types.is_binary(type_) or pa.types.is_large_binary(type_)
    return bool(is_string or is_binary or pa.types.is_null(type_))


def as_strings(column: pa.Array) -> pa.Array:
    """A textual column as strings. What is not UTF-8 keeps its row, with the character U+FFFD in place of bad bytes."""
    try:
        strings = column.cast(pa.string())
        strings.validate(full=True)
    except pa.ArrowInvalid:
        raw = column.cast(pa.binary()).to_pylist()
        return pa.array([None if value is None else value.decode("utf-8", "replace") for value in raw], pa.string())
    return strings


def as_numbers(column: pa.Array, type_: pa.DataType) -> pa.Array:
    """Int, float or text to `type_`; null for what is no such number. Unsigned keys of the 64-bit hash keep their bits."""
    column = decoded(column)
    if pa.types.is_integer(column.type):
        return column.cast(type_, safe=False)
    return pa.array([number(value, pa.types.is_integer(type_)) for value in _python_values(column)], type_)


def as_json(batch: pa.RecordBatch, columns: Mapping[str, int]) -> pa.Array:
    """One JSON object a row of the columns given by name and index; nulls if none is given."""
    if not columns:
        return pa.nulls(batch.num_rows, pa.string())
    values = zip(*(_python_values(batch.column(i)) for i in columns.values()), strict=True)
    rows = ({name: plain(value) for name, value in zip(columns, row, strict=True)} for row in values)
    return pa.array([json.dumps(row, ensure_ascii=False) for row in rows], pa.string())


def _python_values(column: pa.Array) -> list[Any]:
    """Python values; those that Python cannot hold (text that is not UTF-8, times before year 1) as readable text."""
    try:
        return list(column.to_pylist())
    except (UnicodeDecodeError, pa.ArrowException, ValueError, OverflowError):
        return [_python_value(scalar) for scalar in column]


def _python_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (UnicodeDecodeError, pa.ArrowException, ValueError, OverflowError):
        if hasattr(scalar, "as_buffer"):
            return scalar.as_buffer().to_pybytes().decode("utf-8", "replace")
        return str(getattr(scalar, "value", scalar.type))
