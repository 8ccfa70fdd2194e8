"""Response headers by which an image's owner refuses its use for machine learning. Parsing only: no policy, no network.

Understood are X-Robots-Tag (Google's grammar, and directives parted by blanks alone, with those that img2dataset
honours and `none`, their union, `noml`, and an `unavailable_after` that has passed), TDM-Reservation (W3C TDMRep),
Content-Usage (the IETF's AIPREF drafts) and Content-Signal's `ai-train`. When in doubt, the owner is right.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from multidict import CIMultiDictProxy

_LEARNING: Final = frozenset({"noai", "noimageai", "noml"})
_INDEXING: Final = frozenset({"noindex", "noimageindex", "none", "unavailable_after"})
#: Directives of X-Robots-Tag that take a value, so that the name before their colon is no crawler's.
_WITH_VALUE: Final = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_CRAWLER: Final = re.compile(r"\*|[A-Za-z][A-Za-z0-9_.*\-]*(?:/[A-Za-z0-9.]+)?")
#: Content-Usage keys: ours first, and the wider ones that hold where ours say nothing.
_USAGE_OURS: Final = ("train-ai", "train-genai", "ai", "genai")
_USAGE_WIDER: Final = ("tdm", "bots")
_NO_SIGNAL: Final = re.compile(r'ai-train\s*=\s*"?no"?\s*(;.*)?')


def product_token(user_agent: str) -> str:
    """What rules for crawlers call us, in lower case: `user_agent` up to its slash or blank, `laion-coco-assets` say."""
    return re.split(r"[/\s]", user_agent, maxsplit=1)[0].lower()


def opt_out_signal(
    headers: CIMultiDictProxy[str], user_agent: str, *, redirect: bool = False, now: datetime | None = None
) -> str | None:
    """The header that opts this response out, as `Name: directive`, or None.

    A crawler-scoped X-Robots-Tag counts if its scope is `*` or our product token, the part of `user_agent` before the
    slash. On a redirect, directives about search indexing (`noindex`) apply to the short link rather than to the
    image and are ignored. `unavailable_after` counts from its date on, by `now` (this moment, unless given).
    """
    product = product_token(user_agent)
    directives = _LEARNING if redirect else _LEARNING | _INDEXING
    for value in headers.getall("X-Robots-Tag", ()):
        for scope, directive in _robots(value, now or datetime.now(UTC)):
            if directive in directives and scope in (None, "*", product):
                return f"X-Robots-Tag: {directive}" if scope is None else f"X-Robots-Tag: {scope}: {directive}"
    for value in headers.getall("TDM-Reservation", ()):
        if any(item.partition(";")[0].strip(" \t\"'") == "1" for item in value.split(",")):
            return "TDM-Reservation: 1"
    refused = _usage(headers.getall("Content-Usage", ()))
    if refused:
        return f"Content-Usage: {refused}=n"
    signals = ",".join(headers.getall("Content-Signal", ())).lower().split(",")
    return "Content-Signal: ai-train=no" if any(_NO_SIGNAL.fullmatch(item.strip()) for item in signals) else None


def _robots(value: str, now: datetime) -> Iterable[tuple[str | None, str]]:
    """(crawler or None, directive), lower-case, for one header line. A crawler's name holds until the next one.

    `unavailable_after` is given only if its date has passed.
    """
    scope: str | None = None
    date = ""  # of an unavailable_after, as far as it was read: its weekday ends in a comma, too
    for item in value.replace(";", ",").split(","):
        if date and (then := _date(f"{date}, {item.strip()}")) is not None:
            date = ""
            if then <= now:
                yield scope, "unavailable_after"
            continue
        directive, date = item.strip().lower(), ""
        while ":" in directive:
            names, _, rest = directive.partition(":")
            before, name = _last_word(names)
            if name in _WITH_VALUE or not _CRAWLER.fullmatch(name):
                break  # a value follows
            yield from ((scope, word) for word in before)
            scope, directive = name.partition("/")[0], rest.strip()
        names, _, rest = directive.partition(":")
        before, name = _last_word(names)
        yield from ((scope, word) for word in before)
        if name != "unavailable_after":
            yield scope, name
        elif (then := _date(rest.strip())) is None:
            date = rest.strip()
        elif then <= now:
            yield scope, "unavailable_after"


def _last_word(text: str) -> tuple[list[str], str]:
    """The words that blanks part, without quotes: those before the last, and the last. A value can only follow the last."""
    words = [word.strip("\"'") for word in text.split()] or [""]
    return [word for word in words[:-1] if word not in _WITH_VALUE], words[-1]


def _date(text: str) -> datetime | None:
    """The moment that RFC 822, RFC 850 or ISO 8601 text names, the formats Google documents; UTC unless it says other."""
    text = text.strip("\"'")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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
