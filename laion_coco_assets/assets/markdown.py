"""Markdown for Dagster's UI from whatever text the web gave: nothing in it becomes markup."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Final

import dagster as dg

_MARKUP: Final = r"\`*_{}[]<>()#+!|&"
_LONGEST: Final = 200


class Image(str):
    """A picture that stands in the text as data: `Image(data_url)`. Loads nothing."""

    __slots__ = ()

    @classmethod
    def png(cls, data: bytes) -> "Image":
        """From a PNG's bytes."""
        return cls("data:image/png;base64," + base64.b64encode(data).decode())

    @property
    def markdown(self) -> str:
        """The picture; the URL is ours, and holds base64 alone."""
        return f"![]({self})"


def table(head: Sequence[str], body: Iterable[Sequence[Any]]) -> dg.MarkdownMetadataValue:
    """A table; cells are text of any kind, cut at 200 characters, or an `Image`."""
    rows = [["---"] * len(head), *([cell(each) for each in line] for line in body)]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in [head, *rows]))


def cell(value: Any) -> str:
    """What stands in a table's cell."""
    if isinstance(value, Image):
        return value.markdown
    text = "" if value is None else " ".join(str(value).split())[:_LONGEST]
    return "".join(f"\\{char}" if char in _MARKUP else char for char in text)
