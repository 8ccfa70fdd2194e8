"""From the caption and the record beside an image to a row of SOURCE."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from laion_coco_assets.contract.shared_columns import CARRIED_OVER
from laion_coco_assets.sources.normalise import ORIGINAL
from laion_coco_assets.sources.sample_id import sample_id
from laion_coco_assets.sources.values import number, plain


def sample_row(row: int, name: str, texts: Mapping[str, bytes]) -> dict[str, Any]:
    """The row of SOURCE. URL and caption are img2dataset's, where the record has them; a `.txt` goes before its caption.

    Args:
        row: index in the shard.
        name: of the image; percent-encoded, it takes the place of a missing URL.
        texts: content of the files `txt` and `json`, as far as they exist.
    """
    record = _parse_record(texts.get("json"))
    names = {column.casefold(): column for column in reversed(list(record))}
    url = _take_text(record, names, "url")
    text = _take_text(record, names, "text", "caption")
    if "txt" in texts:
        text = texts["txt"].decode("utf-8", "replace").strip()
    # As in a URL: names stay distinct where a URL's fragment is cut off, and bytes that are no text become text.
    url = url or quote(name, errors="surrogateescape")
    carried_over = {column: _take_number(record, names, column, type_) for column, type_ in CARRIED_OVER.items()}
    extra = json.dumps(record) if record else None
    return {
        "row": row,
        "sample_id": sample_id(url, text),
        "URL": url,
        "TEXT": text,
        **carried_over,
        "source_extra": extra,
    }


def _take_number(record: dict[str, Any], names: Mapping[str, str], column: str, type_: pa.DataType) -> Any:
    """The column's number, taken out of the record; None if there is none, and what is no number stays in the record."""
    # img2dataset's own width is the one after resizing.
    name = names.get(f"{ORIGINAL}{column}".casefold()) or names.get(column.casefold())
    if name is None:
        return None
    value = number(record[name], pa.types.is_integer(type_))
    if value is not None:
        del record[name]
    return value


def _take_text(record: dict[str, Any], names: Mapping[str, str], *columns: str) -> str | None:
    for column in columns:
        value = record[names[column]] if column in names else None
        if isinstance(value, str):
            del record[names[column]]
            # JSON may hold halves of surrogate pairs, which parquet cannot.
            return value.encode(errors="replace").decode()
    return None


def _parse_record(content: bytes | None) -> dict[str, Any]:
    """The JSON object; an empty one if there is none, or one that is nested too deep to be written again."""
    try:
        record = plain(json.loads(content or b"{}"))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
