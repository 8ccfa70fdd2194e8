"""Turns any text from the web into Markdown for Dagster's UI. Nothing in the text becomes markup."""

import base64
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

_MARKUP: Final = r"\`*_{}[]<>()#+!|&"
_LONGEST: Final = 200
#: How many characters of a URL are shown: the host, and the end with the file name.
_HOST: Final = 24
_URL_END: Final = 17
_SCHEME: Final = re.compile(r"^https?://", re.IGNORECASE)
#: Where the UI would treat bare text as an address and make it a link.
_LINKED: Final = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
_WORD_JOINER: Final = "\u2060"  # invisible


class Markdown(str):
    """Text that the UI renders as markdown."""

    __slots__ = ()


class Image(str):
    """A picture embedded in the text as data: `Image(data_url)`. The browser loads nothing."""

    __slots__ = ()

    @classmethod
    def png(cls, data: bytes) -> "Image":
        """From a PNG's bytes."""
        return cls("data:image/png;base64," + base64.b64encode(data).decode())

    @property
    def markdown(self) -> str:
        """The picture. The URL is our own and contains only base64."""
        return f"![]({self})"


class Url(str):
    """A URL from the web. It shows where an image is from and is no link. Long URLs are cut in the middle."""

    __slots__ = ()

    @property
    def markdown(self) -> str:
        """The URL as code. Characters that would end the code or the table's cell are percent-encoded."""
        text = quote(_SCHEME.sub("", self), safe="/:?#[]@!$&'()*+,;=%~", errors="replace")
        if len(text) > _HOST + 1 + _URL_END:
            start = min(text.find("/") + 1, _HOST) or _HOST
            text = f"{text[:start]}…{text[-_URL_END:]}"
        return f"`{text}`" if text else ""


def table(head: Sequence[str], body: Iterable[Sequence[Any]], *, numbers: Collection[str] = ()) -> Markdown:
    """A table. A cell is an `Image`, a `Url`, or any text, which is cut after 200 characters.

    `numbers`: the headings of the columns that are aligned right.
    """
    rule = ["---:" if name in numbers else "---" for name in head]
    rows = [rule, *([cell(value) for value in line] for line in body)]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in [head, *rows]))


def cell(value: Any) -> str:
    """The Markdown of one table cell."""
    if isinstance(value, Image | Url):
        return value.markdown
    text = "" if value is None else " ".join(str(value).split())[:_LONGEST]
    return "".join(f"\\{char}" if char in _MARKUP else char for char in _LINKED.sub(_WORD_JOINER, text))
