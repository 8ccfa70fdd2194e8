"""Markdown for Dagster's UI from whatever text the web gave: nothing in it becomes markup."""

import base64
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

import dagster as dg

_MARKUP: Final = r"\`*_{}[]<>()#+!|&"
_LONGEST: Final = 200
#: Characters shown of a URL: the host, and the end, where the file's name is.
_HOST: Final = 24
_URL_END: Final = 17
_SCHEME: Final = re.compile(r"^https?://", re.IGNORECASE)
#: Where the UI would take bare text for an address and make it a link.
_LINKED: Final = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
_WORD_JOINER: Final = "\u2060"  # shows nothing


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


class Url(str):
    """A URL from the web: to tell where an image is from, not to click; long ones are cut in the middle."""

    __slots__ = ()

    @property
    def markdown(self) -> str:
        """The URL as code; what no URL has as it is, and code or a table's cell would end at, is percent-encoded."""
        text = quote(_SCHEME.sub("", self), safe="/:?#[]@!$&'()*+,;=%~", errors="replace")
        if len(text) > _HOST + 1 + _URL_END:
            start = min(text.find("/") + 1, _HOST) or _HOST
            text = f"{text[:start]}…{text[-_URL_END:]}"
        return f"`{text}`" if text else ""


def table(
    head: Sequence[str], body: Iterable[Sequence[Any]], *, numbers: Collection[str] = ()
) -> dg.MarkdownMetadataValue:
    """A table; cells are an `Image`, a `Url`, or text of any kind, which is cut at 200 characters.

    `numbers`: headings of the columns to align at the right.
    """
    rule = ["---:" if name in numbers else "---" for name in head]
    rows = [rule, *([cell(each) for each in line] for line in body)]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in [head, *rows]))


def cell(value: Any) -> str:
    """What stands in a table's cell."""
    if isinstance(value, Image | Url):
        return value.markdown
    text = "" if value is None else " ".join(str(value).split())[:_LONGEST]
    return "".join(f"\\{char}" if char in _MARKUP else char for char in _LINKED.sub(_WORD_JOINER, text))
