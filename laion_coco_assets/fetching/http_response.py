"""What a response means and how its body is read, within the limit of bytes and the byte budget."""

import asyncio
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.http_exceptions import TransferEncodingError

from laion_coco_assets.contract.reasons import Reason, RejectedError
from laion_coco_assets.fetching.byte_budget import ReleaseSlots, Reservation
from laion_coco_assets.fetching.http_attempt import AttemptError


def check_status(response: aiohttp.ClientResponse) -> None:
    """Raises AttemptError for every status that does not come with the image."""
    status = response.status
    detail = f"HTTP {status}"
    match status:
        case 206:
            raise AttemptError(Reason.TRUNCATED, "HTTP 206: a part, though the whole was asked for", final=True)
        case _ if 200 <= status < 300:
            return
        case 408:
            raise AttemptError(Reason.TIMEOUT, detail)
        case 429:
            raise AttemptError(Reason.RATE_LIMITED, detail, retry_after_s=_retry_after_s(response), throttles_host=True)
        case _ if 400 <= status < 500:
            raise AttemptError(Reason.HTTP_4XX, detail)
        case _ if 500 <= status < 600:
            retry_after_s = _retry_after_s(response)
            throttles_host = status == 503 and retry_after_s is not None
            raise AttemptError(Reason.HTTP_5XX, detail, retry_after_s=retry_after_s, throttles_host=throttles_host)
        case _:
            raise AttemptError(Reason.PROTOCOL, f"{detail}, which leads to no picture")


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """Seconds, from either form of the header; None if it is missing or makes no sense."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(response.headers.get("Date", ""))
        return max(0.0, (then - now).total_seconds())  # the server's clock against itself: ours may differ
    except (TypeError, ValueError, OverflowError):
        return None


async def read_body(
    response: aiohttp.ClientResponse, limit: int, reservation: Reservation, release_slots: ReleaseSlots
) -> bytes:
    """The whole body, for which `reservation` has room from its first byte on.

    Raises:
        RejectedError: more than `limit` bytes.
        aiohttp.ClientError: the body breaks off, or is not HTTP.
    """
    promised = response.content_length
    if promised is not None and promised > limit:
        raise RejectedError(Reason.TOO_LARGE, f"{promised} bytes announced, more than {limit}")
    _fail_on_disconnect(response)
    if promised is not None:
        await reservation.grow(promised, promised, release_slots)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise RejectedError(Reason.TOO_LARGE, f"more than {limit} bytes")
        if promised is None:
            await reservation.grow(size, limit, release_slots)
        chunks.append(chunk)
    reservation.shrink(size)
    return b"".join(chunks)


async def read_start(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The first `limit` bytes of the body."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body[:limit])


def _fail_on_disconnect(response: aiohttp.ClientResponse) -> None:
    """Fails the body's reader when the connection is gone.

    aiohttp does so itself, except where a body stops being HTTP halfway: it closes the connection, and the reader would
    wait until the deadline.
    """
    content = response.content

    def fail(closed: "asyncio.Future[None]") -> None:
        if not closed.cancelled():
            closed.exception()  # retrieved, so that asyncio does not log it; `content` gets its own error
        if not content.is_eof() and content.exception() is None:
            content.set_exception(TransferEncodingError("the body stops being HTTP"))

    connection = response.connection
    protocol = None if connection is None else connection.protocol
    if protocol is not None and (closed := protocol.closed) is not None:
        closed.add_done_callback(fail)
    elif not content.is_eof() and content.exception() is None:
        content.set_exception(TransferEncodingError("the body stops being HTTP"))
