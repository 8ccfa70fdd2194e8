"""From a source's text to a URL that may be requested. Looks at the text only; `addresses` checks where it leads."""

import re
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from yarl import URL

from laion_coco_assets.contract.reasons import Reason, RejectedError

#: Characters; longer URLs are refused by most servers and browsers.
MAX_URL_LENGTH: Final = 8192

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_EDGES: Final = "".join(map(chr, range(0x21)))  # C0 controls and space, which browsers strip
_INNER: Final = {ord(c): None for c in "\t\r\n"}  # likewise, anywhere
_KEPT: Final = "!#$%&'()*+,/:;=?@[]~"  # what is legal, or already escaped, is sent unchanged: URLs are signed
_NUMERIC: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_HOST: Final = re.compile(r"[a-z0-9_\-.]+")


def check_url(text: str | None) -> URL:
    """The URL to request, without its fragment. Raises RejectedError: invalid_url, scheme or credentials_in_url."""
    if text is None:
        raise RejectedError(Reason.INVALID_URL, "no URL")
    text = text.strip(_EDGES).translate(_INNER)
    if not text:
        raise RejectedError(Reason.INVALID_URL, "an empty URL")
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise RejectedError(Reason.INVALID_URL, "no http:// or https:// at its beginning")
    if scheme[1].lower() not in ("http", "https"):
        raise RejectedError(Reason.SCHEME, f"{scheme[1].lower()[:32]}: is not fetched, only http: and https: are")
    if len(text) > MAX_URL_LENGTH:
        raise RejectedError(Reason.INVALID_URL, f"{len(text)} characters, more than {MAX_URL_LENGTH}")
    try:
        return _parse(text)
    except (ValueError, UnicodeError) as error:
        # The cause may quote the URL, credentials and all, so it is neither shown nor chained.
        raise RejectedError(Reason.INVALID_URL, f"cannot be parsed ({type(error).__name__})") from None


def resolve_redirect(base: URL, location: str) -> URL:
    """Where a Location header leads. Raises RejectedError as `check_url` does, its detail saying that a redirect did it."""
    try:
        target = urljoin(str(base), location.strip(_EDGES).translate(_INNER))
    except ValueError:
        raise RejectedError(Reason.INVALID_URL, "redirected to a URL that cannot be parsed") from None
    try:
        return check_url(target)
    except RejectedError as error:
        raise RejectedError(error.rejection.reason, f"redirected to a bad URL: {error.rejection.detail}") from None


def _parse(text: str) -> URL:
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise RejectedError(Reason.CREDENTIALS_IN_URL, "a user name or password before the host")
    if "\\" in parts.netloc or "%" in parts.netloc:
        raise RejectedError(Reason.INVALID_URL, "a host that browsers and libraries read differently")
    port = parts.port
    if port == 0:
        raise RejectedError(Reason.INVALID_URL, "port 0")
    host = _canonical_host(URL(f"http://{parts.netloc}/").raw_host or "")
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        authority = f"{authority}:{port}"
    path = quote(parts.path, safe=_KEPT, errors="surrogateescape") or "/"
    if "/." in path and not path.startswith("//"):
        path = urlsplit(urljoin("http://x/", path)).path or "/"  # resolves /a/../b as browsers do
    return URL.build(
        scheme=parts.scheme,
        authority=authority,
        path=path,
        query_string=quote(parts.query, safe=_KEPT, errors="surrogateescape"),
        encoded=True,
    )


def _canonical_host(host: str) -> str:
    """A lower-case name, or an address in its usual spelling, so that every later check sees what is connected to."""
    host = host.lower()
    if ":" in host:
        return str(IPv6Address(host))
    bare = host.removesuffix(".")
    if not bare or ".." in host or not _HOST.fullmatch(host):
        raise RejectedError(Reason.INVALID_URL, "no host, or one with characters that no host has")
    if len(bare) > 253 or any(len(label) > 63 or not label for label in bare.split(".")):
        raise RejectedError(Reason.INVALID_URL, "a host longer than DNS allows")
    if _NUMERIC.fullmatch(bare.rpartition(".")[2]):
        return _ipv4(bare)
    return host


def _ipv4(text: str) -> str:
    """Dotted decimal from any spelling that browsers accept: 1 to 4 parts, decimal, octal or hexadecimal (WHATWG URL)."""
    numbers = []
    for part in text.split("."):
        if not _NUMERIC.fullmatch(part):
            raise RejectedError(Reason.INVALID_URL, "a host that ends like an IPv4 address but is not one")
        if part[:2].lower() == "0x":
            numbers.append(int(part[2:] or "0", 16))
        elif len(part) > 1 and part[0] == "0":
            numbers.append(int(part, 8))  # ValueError for 08, as in browsers
        else:
            numbers.append(int(part))
    *leading, last = numbers
    if len(numbers) > 4 or any(number > 255 for number in leading) or last >= 256 ** (5 - len(numbers)):
        raise RejectedError(Reason.INVALID_URL, "an IPv4 address out of range")
    value = last + sum(number << (8 * (3 - index)) for index, number in enumerate(leading))
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
