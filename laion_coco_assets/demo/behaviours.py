"""What the demo's URLs do when they are fetched, how often, and the result that a correct fetcher gives."""

from collections.abc import Iterator
from random import Random
from typing import Literal

Behaviour = Literal[
    "ok",
    "redirect",
    "not_found",
    "gone",
    "forbidden",
    "rate_limited",
    "server_error",
    "unavailable",
    "hang",
    "truncated_body",
    "truncated_image",
    "html_as_jpeg",
    "html_page",
    "svg",
    "tiff",
    "tiny",
    "banner",
    "opt_out",
    "redirect_loop",
    "redirect_private",
    "duplicate",
    "malformed_url",
    "ftp",
    "credentials",
    "unknown_host",
    "bomb",
    "huge",
]
# The result of a correct fetcher: None is an image, all others are from the project's closed list of reasons.
EXPECTED_REASON: dict[Behaviour, str | None] = {
    "ok": None,
    "redirect": None,
    "not_found": "http_4xx",
    "gone": "http_4xx",
    "forbidden": "http_4xx",
    "rate_limited": "rate_limited",
    "server_error": "http_5xx",
    "unavailable": "http_5xx",
    "hang": "timeout",
    "truncated_body": "truncated",
    "truncated_image": "truncated",
    "html_as_jpeg": "not_an_image",
    "html_page": "not_an_image",
    "svg": "unsupported_format",
    "tiff": "unsupported_format",
    "tiny": "too_small",
    "banner": "aspect_ratio",
    "opt_out": "opted_out",
    "redirect_loop": "too_many_redirects",
    "redirect_private": "blocked_address",
    "duplicate": "duplicate_url",
    "malformed_url": "invalid_url",
    "ftp": "scheme",
    "credentials": "credentials_in_url",
    "unknown_host": "dns",
    "bomb": "bomb",
    "huge": "too_large",
}
# The count in every hundred samples. Each hundred is shuffled separately, so a corpus of a hundred or more has them all.
MIX: dict[Behaviour, int] = {
    **dict.fromkeys(EXPECTED_REASON, 1),
    "ok": 67,
    "redirect": 3,
    "not_found": 4,
    "opt_out": 2,
    "duplicate": 2,
}
# Behaviours whose URL serves no picture.
NO_PICTURE: frozenset[Behaviour] = frozenset(
    {
        "not_found",
        "gone",
        "forbidden",
        "rate_limited",
        "server_error",
        "unavailable",
        "html_as_jpeg",
        "html_page",
        "svg",
        "redirect_loop",
        "redirect_private",
        "malformed_url",
        "ftp",
        "credentials",
        "unknown_host",
        "bomb",
    }
)


def behaviours(seed: int) -> Iterator[Behaviour]:
    """An endless sequence. Every hundred has the counts of `MIX`, in an order that `seed` fixes."""
    deck = [behaviour for behaviour, count in MIX.items() for _ in range(count)]
    block = 0
    while True:
        shuffled = list(deck)
        Random(f"behaviours {seed} {block}").shuffle(shuffled)
        yield from shuffled
        block += 1
