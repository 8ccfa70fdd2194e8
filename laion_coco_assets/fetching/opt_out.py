"""Response headers by which a picture's owner refuses its use for machine learning. Parsing only: no policy, no network.

Understood are X-Robots-Tag (Google's grammar, with the directives that img2dataset honours and `none`, their union, and
`noml`), TDM-Reservation (W3C TDMRep) and Content-Usage (the IETF's AIPREF drafts). When in doubt, the owner is right.
"""

import re
from collections.abc import Iterable
from typing import Final

from multidict import CIMultiDictProxy

_LEARNING: Final = frozenset({"noai", "noimageai", "noml"})
_INDEXING: Final = frozenset({"noindex", "noimageindex", "none"})
#: Directives of X-Robots-Tag that take a value, so that the name before their colon is no crawler's.
_VALUED: Final = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_CRAWLER: Final = re.compile(r"\*|[A-Za-z][A-Za-z0-9_.*\-]*(?:/[A-Za-z0-9.]+)?")
#: Content-Usage keys: ours first, and the wider ones that hold where ours say nothing.
_USAGE_OURS: Final = ("train-ai", "train-genai", "ai", "genai")
_USAGE_WIDER: Final = ("tdm", "bots")


def product_token(user_agent: str) -> str:
    """What rules for crawlers call us, in lower case: `user_agent` up to its slash, as in `laion-coco-assets/0.1 (+https://…)`."""
    return re.split(r"[/\s]", user_agent, maxsplit=1)[0].lower()


def opt_out_signal(headers: CIMultiDictProxy[str], user_agent: str, *, redirect: bool = False) -> str | None:
    """The header that opts this response out, as `Name: directive`, or None.

    A crawler-scoped X-Robots-Tag counts if its scope is `*` or our product token, the part of `user_agent` before the
    slash. On a redirect, directives about search indexing (`noindex`) speak of the short link rather than of the
    picture and are passed over.
    """
    product = product_token(user_agent)
    directives = _LEARNING if redirect else _LEARNING | _INDEXING
    for value in headers.getall("X-Robots-Tag", ()):
        for scope, directive in _robots(value):
            if directive in directives and scope in (None, "*", product):
                return f"X-Robots-Tag: {directive}" if scope is None else f"X-Robots-Tag: {scope}: {directive}"
    for value in headers.getall("TDM-Reservation", ()):
        if any(item.strip() == "1" for item in value.split(",")):
            return "TDM-Reservation: 1"
    refused = _usage(headers.getall("Content-Usage", ()))
    return f"Content-Usage: {refused}=n" if refused else None


def _robots(value: str) -> Iterable[tuple[str | None, str]]:
    """(crawler or None, directive), lower-case, for one header line. A crawler's name holds until the next one."""
    scope: str | None = None
    for item in value.replace(";", ",").split(","):
        directive = item.strip().lower()
        while ":" in directive:
            name, _, rest = (part.strip() for part in directive.partition(":"))
            if name in _VALUED or not _CRAWLER.fullmatch(name):
                break  # a value follows, or this is part of a date: `Wednesday, 03-Jul-30 15:00:00 GMT`
            scope, directive = name.partition("/")[0], rest
        yield scope, directive.partition(":")[0].strip().strip("\"'")


def _usage(values: Iterable[str]) -> str | None:
    """The key whose `n` refuses training: one of ours, or a wider one that none of ours contradicts."""
    preferences: dict[str, str] = {}
    for item in ",".join(values).split(","):
        key, _, value = item.partition("=")
        preferences[key.strip().lower()] = value.partition(";")[0].strip().strip('"').lower()
    for key in _USAGE_OURS:
        if preferences.get(key) == "n":
            return key
    if any(preferences.get(key) == "y" for key in _USAGE_OURS):
        return None
    return next((key for key in _USAGE_WIDER if preferences.get(key) == "n"), None)
