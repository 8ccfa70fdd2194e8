"""A small server with every bad habit a web server can have, one per path. Raw asyncio, so that nothing corrects it.

A test asks for `http://127.0.0.1:<port>/<path>`; `BEHAVIOURS` has the function for each path. One long module, since it
is one list: a short function per path.
"""

import asyncio
import gzip
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from laion_coco_assets_tests.images import pictures


class Connection:
    """What a behaviour may use: the request's path, how often it was asked for before, and the two streams."""

    def __init__(
        self, server: "BadServer", path: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.path = path
        self.head = head
        self.before = server.asked[path] - 1
        self._reader = reader
        self._writer = writer
        self._sent = 0

    async def send(self, data: bytes) -> None:
        """Send, up to 256 MiB a request: over TLS asyncio may not say that the client has left, and for ever is long."""
        self._sent += len(data)
        if self._sent > 256 << 20 or self._writer.is_closing():
            raise ConnectionResetError("the client has left, or has had enough")
        self._writer.write(data)
        await self._writer.drain()
        await asyncio.sleep(0)  # a drain that finds nothing to wait for lets nobody else have a turn

    async def answer(self, status: str = "200 OK", body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self._writer.transport.abort()

    async def for_ever(self) -> None:
        """Hold the connection until the client leaves or the server ends."""
        while await self._reader.read(65536):
            pass


Behaviour = Callable[[Connection], Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS["/" + function.__name__] = function
    return function


class BadServer:
    """Serves BEHAVIOURS on a free loopback port, from a thread of its own, while entered."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.most_at_once = 0
        self.at_once = 0
        self.port = 0
        self._context = context

    def __enter__(self) -> Self:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, path: str) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}{path}"

    async def _serve(self, ready: "Future[None]") -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda *_: None)
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        ready.set_result(None)
        await self._stop.wait()
        server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            while True:
                head = await reader.readexactly(1)
                if head == b"\x16":  # a TLS client, here by mistake
                    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    break
                head += await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                self.asked[path] += 1
                name = path.partition("?")[0]
                await BEHAVIOURS[name](Connection(self, path, head, reader, writer))
                if b"connection: close" in head.lower() or name in CLOSING:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.at_once -= 1
            writer.close()


@behaviour
async def good(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG, "Content-Type: image/jpeg")


@behaviour
async def good_http_1_0(at: Connection) -> None:
    await at.send(b"HTTP/1.0 200 OK\r\n\r\n" + pictures.JPEG)


@behaviour
async def good_without_length(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\n\r\n" + pictures.JPEG)


@behaviour
async def good_chunked(at: Connection) -> None:
    half = len(pictures.JPEG) // 2
    await at.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in (pictures.JPEG[:half], pictures.JPEG[half:], b""):
        await at.send(b"%x\r\n%s\r\n" % (len(part), part))


@behaviour
async def good_but_called_text(at: Connection) -> None:
    await at.answer("200 OK", pictures.PNG, "Content-Type: text/html")


@behaviour
async def good_after_early_hints(at: Connection) -> None:
    await at.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n")
    await at.answer("200 OK", pictures.JPEG)


@behaviour
async def good_with_a_cookie(at: Connection) -> None:
    if b"cookie:" in at.head.lower():
        await at.answer("400 a cookie came back")
    else:
        await at.answer("200 OK", pictures.JPEG, "Set-Cookie: a=b; Path=/")


@behaviour
async def good_but_claims_gzip(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG, "Content-Encoding: gzip")


@behaviour
async def good_with_more_than_promised(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG)
    await at.send(b"and some more")


@behaviour
async def extra_headers(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG, "X-Robots-Tag: all", "Server: x")


@behaviour
async def really_gzip(at: Connection) -> None:
    await at.answer("200 OK", gzip.compress(pictures.JPEG), "Content-Encoding: gzip")


@behaviour
async def gzip_bomb(at: Connection) -> None:
    await at.answer("200 OK", gzip.compress(b"\0" * 50_000_000), "Content-Encoding: gzip")


@behaviour
async def html_as_jpeg(at: Connection) -> None:
    await at.answer("200 OK", b"<!DOCTYPE html><html>not found</html>", "Content-Type: image/jpeg")


@behaviour
async def json_error_with_200(at: Connection) -> None:
    await at.answer("200 OK", b'{"error": "not found"}')


@behaviour
async def empty(at: Connection) -> None:
    await at.answer("200 OK")


@behaviour
async def no_content(at: Connection) -> None:
    await at.send(b"HTTP/1.1 204 No Content\r\n\r\n")


@behaviour
async def part(at: Connection) -> None:
    await at.answer("206 Partial Content", pictures.JPEG[:100], "Content-Range: bytes 0-99/1000")


@behaviour
async def svg(at: Connection) -> None:
    await at.answer("200 OK", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>')


@behaviour
async def pixel(at: Connection) -> None:
    await at.answer("200 OK", pictures.PIXEL)


@behaviour
async def banner(at: Connection) -> None:
    await at.answer("200 OK", pictures.BANNER)


@behaviour
async def bomb(at: Connection) -> None:
    await at.answer("200 OK", pictures.BOMB)


@behaviour
async def half_a_file(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG[: len(pictures.JPEG) // 2])


@behaviour
async def garbled(at: Connection) -> None:
    await at.answer("200 OK", pictures.PNG[:60] + b"\0" * 40 + pictures.PNG[100:])


@behaviour
async def gone(at: Connection) -> None:
    await at.answer("410 Gone", pictures.JPEG)


@behaviour
async def not_found(at: Connection) -> None:
    await at.answer("404 Not Found", b"<html>no</html>")


@behaviour
async def forbidden(at: Connection) -> None:
    await at.answer("403 Forbidden")


@behaviour
async def unauthorized(at: Connection) -> None:
    await at.answer("401 Unauthorized", b"", 'WWW-Authenticate: Basic realm="x"')


@behaviour
async def request_timeout(at: Connection) -> None:
    await at.answer("408 Request Timeout")


@behaviour
async def slow_down(at: Connection) -> None:
    await at.answer("429 Too Many Requests", b"", "Retry-After: 0")


@behaviour
async def slow_down_for_a_day(at: Connection) -> None:
    await at.answer("429 Too Many Requests", b"", "Retry-After: 86400")


@behaviour
async def slow_down_till_a_date(at: Connection) -> None:
    await at.answer(
        "429 Too Many Requests",
        b"",
        "Date: Wed, 21 Oct 2015 07:28:00 GMT",
        "Retry-After: Thu, 22 Oct 2015 07:28:00 GMT",
    )


@behaviour
async def broken(at: Connection) -> None:
    await at.answer("500 Internal Server Error")


@behaviour
async def unavailable(at: Connection) -> None:
    await at.answer("503 Service Unavailable", b"", "Retry-After: soon")


@behaviour
async def unavailable_for_a_day(at: Connection) -> None:
    await at.answer("503 Service Unavailable", b"", "Retry-After: 86400")


@behaviour
async def broken_once(at: Connection) -> None:
    await (at.answer("502 Bad Gateway") if at.before == 0 else good(at))


@behaviour
async def rate_limited_once(at: Connection) -> None:
    await (slow_down(at) if at.before == 0 else good(at))


@behaviour
async def truncated_once(at: Connection) -> None:
    await (too_short(at) if at.before == 0 else good(at))


@behaviour
async def strange_status(at: Connection) -> None:
    await at.answer("999 Request denied")


@behaviour
async def not_modified(at: Connection) -> None:
    await at.send(b"HTTP/1.1 304 Not Modified\r\n\r\n")


@behaviour
async def switching(at: Connection) -> None:
    await at.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")


@behaviour
async def redirect(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: /good")


@behaviour
async def redirect_relative(at: Connection) -> None:
    await at.answer("301 Moved Permanently", b"a page", "Location: nowhere/../good?x=%2F&y=a%20b#part")


@behaviour
async def redirect_twice(at: Connection) -> None:
    await at.answer("307 Temporary Redirect", b"", "Location: redirect")


@behaviour
async def redirect_loop(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: /redirect_loop")


@behaviour
async def redirect_ever_longer(at: Connection) -> None:
    await at.answer("302 Found", b"", f"Location: {at.path}{'&' if '?' in at.path else '?'}a")


@behaviour
async def redirect_without_location(at: Connection) -> None:
    await at.answer("302 Found")


@behaviour
async def redirect_to_file(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: file:///etc/hostname")


@behaviour
async def redirect_to_data(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: data:image/png;base64,AAAA")


@behaviour
async def redirect_to_private(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: http://169.254.169.254/latest/meta-data/")


@behaviour
async def redirect_to_private_decimal(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: http://2852039166/latest/meta-data/")


@behaviour
async def redirect_to_private_mapped(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: http://[::ffff:10.0.0.1]/")


@behaviour
async def redirect_with_credentials(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: http://me:hunter2@example.org/")


@behaviour
async def redirect_to_nonsense(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: http://[/")


@behaviour
async def redirect_to(at: Connection) -> None:
    """To wherever the query says, percent-encoded."""
    await at.answer("302 Found", b"", f"Location: {unquote(at.path.partition('?')[2])}")


@behaviour
async def redirect_with_odd_bytes(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: /good?caf\udce9 \u00fc")


@behaviour
async def opt_out(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG, "X-Robots-Tag: noimageindex", "x-robots-tag: max-snippet:-1, NoAI")


@behaviour
async def opt_out_on_redirect(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: /good", "TDM-Reservation: 1")


@behaviour
async def noindex_on_redirect(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: /good", "X-Robots-Tag: noindex")


@behaviour
async def promised_too_large(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    await at.for_ever()


@behaviour
async def chunked_for_ever(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await at.send(b"10000\r\n" + b"\xff" * 65536 + b"\r\n")


@behaviour
async def endless_without_length(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await at.send(b"\xff" * 65536)


@behaviour
async def too_short(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(pictures.JPEG) + 1) + pictures.JPEG)
    at.reset()


@behaviour
async def chunks_break_off(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123")


@behaviour
async def chunks_make_no_sense(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0)
    await at.send(b"nonsense\r\nmore nonsense\r\n")


@behaviour
async def reset_within_body(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + pictures.JPEG[:50])
    at.reset()


@behaviour
async def two_lengths(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345")


@behaviour
async def negative_length(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")


@behaviour
async def no_http(at: Connection) -> None:
    await at.send(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")


@behaviour
async def no_header_colon(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nthis is no header\r\n\r\n")


@behaviour
async def huge_header(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG, "X-Huge: " + "a" * 1_000_000)


@behaviour
async def many_headers(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG, *(f"X-{number}: {number}" for number in range(20_000)))


@behaviour
async def endless_headers(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await at.send(b"X-More: again\r\n" * 1000)


@behaviour
async def endless_hints(at: Connection) -> None:
    while True:
        await at.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await asyncio.sleep(0)


@behaviour
async def silent(at: Connection) -> None:
    await at.for_ever()


@behaviour
async def half_a_header(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    await at.for_ever()


@behaviour
async def stops_within_body(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + pictures.JPEG[:50])
    await at.for_ever()


@behaviour
async def closes_at_once(at: Connection) -> None:
    return


@behaviour
async def resets_at_once(at: Connection) -> None:
    at.reset()


@behaviour
async def headers_drip(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await at.send(b"X-More: again\r\n")
        await asyncio.sleep(0.2)  # slower than any limit on headers, faster than any limit on silence


@behaviour
async def body_drips(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await at.send(b"\xff")
        await asyncio.sleep(0.05)


@behaviour
async def chunks_drip(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await at.send(b"1\r\n\xff\r\n")
        await asyncio.sleep(0.05)


@behaviour
async def webcam(at: Connection) -> None:
    """Pictures without end, each after a boundary: what many cameras serve as one response."""
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
    while True:
        await at.send(b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + pictures.JPEG + b"\r\n")


@behaviour
async def length_for_half(at: Connection) -> None:
    """A Content-Length that ends within the picture; the rest follows all the same, and later than the first half."""
    half = len(pictures.JPEG) // 2
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % half + pictures.JPEG[:half])
    at.reset()


@behaviour
async def length_and_chunks(at: Connection) -> None:
    """Two framings at once, as in request smuggling."""
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
    await at.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(pictures.JPEG), pictures.JPEG))


@behaviour
async def chunk_of_absurd_size(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await at.send(b"FFFFFFFFFFFFFFFF\r\n" + pictures.JPEG)


@behaviour
async def closes_behind_headers(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")


@behaviour
async def good_without_reason_phrase(at: Connection) -> None:
    await at.send(b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n" % len(pictures.JPEG) + pictures.JPEG)


@behaviour
async def http_0_9(at: Connection) -> None:
    await at.send(pictures.JPEG)


@behaviour
async def shoutcast(at: Connection) -> None:
    await at.send(b"ICY 200 OK\r\n\r\n" + pictures.JPEG)


@behaviour
async def nul_in_a_header(at: Connection) -> None:
    await at.answer("200 OK", pictures.JPEG, "X-Odd: a\0b")


@behaviour
async def brotli(at: Connection) -> None:
    await at.answer("200 OK", b"\x0b\x02\x80not really\x03", "Content-Encoding: br")


@behaviour
async def multiple_choices(at: Connection) -> None:
    await at.answer("300 Multiple Choices", b"<html>this or that</html>", "Location: /good")


@behaviour
async def redirect_too_long(at: Connection) -> None:
    await at.answer("302 Found", b"", "Location: /good?" + "a" * 8200)


@behaviour
async def legal_reasons(at: Connection) -> None:
    await at.answer("451 Unavailable For Legal Reasons", pictures.JPEG)


@behaviour
async def cdn_lost_its_origin(at: Connection) -> None:
    await at.answer("520 Web Server Returned an Unknown Error", b"<html>", "Retry-After: 86400")


#: After these the server closes the connection, for that is how their answer ends.
CLOSING = {
    "/closes_behind_headers",
    "/http_0_9",
    "/shoutcast",
    "/good_http_1_0",
    "/good_without_length",
    "/chunks_break_off",
    "/closes_at_once",
    "/resets_at_once",
    "/too_short",
    "/no_http",
    "/good_with_more_than_promised",
}
