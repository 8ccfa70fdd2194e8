"""The closed list of reasons why a URL has no image. The code that detects them is in `fetching` and `images`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from laion_coco_assets.errors import UserError


class Reason(StrEnum):
    """Why a row has no image; `DESCRIPTIONS` explains each in one line."""

    INVALID_URL = "invalid_url"
    CREDENTIALS_IN_URL = "credentials_in_url"
    SCHEME = "scheme"
    DUPLICATE_URL = "duplicate_url"
    ROBOTS = "robots"
    BLOCKED_ADDRESS = "blocked_address"
    DNS = "dns"
    REFUSED = "refused"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    HTTP_4XX = "http_4xx"
    RATE_LIMITED = "rate_limited"
    HTTP_5XX = "http_5xx"
    OPTED_OUT = "opted_out"
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    BOMB = "bomb"
    DECODE_ERROR = "decode_error"
    TOO_SMALL = "too_small"
    ASPECT_RATIO = "aspect_ratio"


DESCRIPTIONS: Final[dict[Reason, str]] = {
    Reason.INVALID_URL: "no URL, or not a valid one: without a host, malformed, ambiguous or too long",
    Reason.CREDENTIALS_IN_URL: "the URL carries a user name or password, which are never sent",
    Reason.SCHEME: "neither http nor https: file, ftp, data and the like are never opened",
    Reason.DUPLICATE_URL: "an earlier row of the same shard, named in detail, has this URL; it is fetched once",
    Reason.ROBOTS: "the host's robots.txt disallows the URL, and the profile has robots = true",
    Reason.BLOCKED_ADDRESS: "the name leads to a private, local or otherwise special address",
    Reason.DNS: "the name does not resolve, or no name server answered",
    Reason.REFUSED: "no connection, or one closed before the answer began",
    Reason.TLS: "no trusted, encrypted connection: expired, self-signed or foreign certificate, failed handshake",
    Reason.TIMEOUT: "connection or answer took longer than the profile allows",
    Reason.PROTOCOL: "the answer is not valid HTTP, or its status makes no sense for a picture",
    Reason.TOO_MANY_REDIRECTS: "more redirects than the profile follows; most often a loop",
    Reason.HTTP_4XX: "the server says that the picture is gone, private or never existed; http_status has the code",
    Reason.RATE_LIMITED: "the server asked us to slow down (429)",
    Reason.HTTP_5XX: "the server failed; http_status has the code",
    Reason.OPTED_OUT: "the response says that the picture is not for machine learning; detail names the signal",
    Reason.TOO_LARGE: "more bytes than the profile accepts",
    Reason.TRUNCATED: "fewer bytes came than were promised, or the picture breaks off",
    Reason.NOT_AN_IMAGE: "the bytes are not a picture: a web page, text, an archive, nothing at all",
    Reason.UNSUPPORTED_FORMAT: "a picture in a format that is not kept (SVG, TIFF, BMP, ICO, HEIC, ...)",
    Reason.BOMB: "more pixels, or more memory to decode, than the profile accepts",
    Reason.DECODE_ERROR: "the picture is damaged: the decoder gave up, crashed or did not finish",
    Reason.TOO_SMALL: "the shorter side has fewer pixels than the profile asks for",
    Reason.ASPECT_RATIO: "longer over shorter side is more than the profile accepts",
}

#: Reasons that may pass with time: `--retry transient` fetches their rows again. Other rows would fail the same way
#: again.
TRANSIENT: Final = frozenset(
    {
        Reason.DNS,
        Reason.REFUSED,
        Reason.TIMEOUT,
        Reason.RATE_LIMITED,
        Reason.HTTP_5XX,
        Reason.TRUNCATED,
    }
)

#: The name of all of TRANSIENT in a list of reasons.
TRANSIENT_NAME: Final = "transient"


def parse_reasons(names: Iterable[str]) -> frozenset[Reason]:
    """The reasons in `names`, where `transient` means all of TRANSIENT. A name may hold several, separated by commas.

    Raises:
        UserError: a name is not a reason; an empty name is not one either.
    """
    words = [word.strip().lower() for name in names for word in name.split(",")]
    unknown = sorted({word or "''" for word in words if word != TRANSIENT_NAME and word not in set(Reason)})
    if unknown:
        known = ", ".join((TRANSIENT_NAME, *Reason))
        raise UserError(f"--retry: no such reason: {', '.join(unknown)}; the reasons are {known}")
    named = frozenset(Reason(word) for word in words if word != TRANSIENT_NAME)
    return named | TRANSIENT if TRANSIENT_NAME in words else named


@dataclass(frozen=True, slots=True)
class Rejection:
    """One reason, and for people a text that says what exactly was wrong. `detail` never holds credentials."""

    reason: Reason
    detail: str


class RejectedError(Exception):
    """Carries a `Rejection` out of nested calls. `Fetcher.fetch` never raises it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.rejection = Rejection(reason, detail)
