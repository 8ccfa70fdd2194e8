"""Single values of a source: as numbers of the carried-over columns, and as values that JSON can hold."""

import base64
import math
from typing import Any


def number(value: Any, whole: bool) -> int | float | None:
    """An int64 if `whole`, else a finite float; None for what is no such number."""
    try:
        result = _integer(value) if whole else float(value)
    except (TypeError, ValueError, OverflowError):  # text, NaN, infinity, a list
        return None
    fits = -(1 << 63) <= result < 1 << 63 if whole else math.isfinite(result)
    return result if fits else None


def _integer(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return round(float(value))
    integer: int = round(value)
    return integer


def plain(value: Any) -> Any:
    """A value that JSON has: bytes as base64, not-a-number as null, times and decimals as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)
