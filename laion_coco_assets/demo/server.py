"""The server that the demo fetches from: every URL of a corpus on a loopback port, with the failures of real hosts.

Pictures are drawn on request. The server keeps only the corpus.
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web
from yarl import URL

from laion_coco_assets.demo import picture_bytes
from laion_coco_assets.demo.corpus import Corpus, DemoSample
from laion_coco_assets.demo.sample_urls import HOST

T = TypeVar("T")

LONGEST_HANG_S = 60.0
PRIVATE_TARGET = "http://10.0.0.1/latest/meta-data/"
STATUSES = {
    "not_found": 404,
    "gone": 410,
    "forbidden": 403,
    "rate_limited": 429,
    "server_error": 500,
    "unavailable": 503,
}
PAGE = (
    "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1>"
    "<p>The page you are looking for has moved to our new shop.</p></body></html>"
)
SVG = (
    '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="200" height="200">'
    '<circle cx="100" cy="100" r="80" fill="#d42226"/></svg>'
)


def _key(url: URL) -> str:
    return url.raw_path_qs


class CorpusServer:
    """Serves a corpus on 127.0.0.1 from its own thread while the `with` block runs.

    A fetcher reaches it by mapping `HOST` to `127.0.0.1:port`. The URLs do not contain the port.

    >>> from laion_coco_assets.demo.corpus import build_corpus
    >>> with CorpusServer(build_corpus(10)) as server:
    ...     server.port > 0
    True
    """

    def __init__(self, corpus: Corpus) -> None:
        self._samples: dict[str, DemoSample] = {}
        for sample in corpus.samples:
            # duplicates have the URL of an earlier sample; other hosts and broken URLs never reach the server
            if sample.behaviour != "duplicate" and sample.url.startswith(f"http://{HOST}/"):
                self._samples[_key(URL(sample.url))] = sample
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="demo corpus server", daemon=True)
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.port = 0

    def __enter__(self) -> "CorpusServer":
        self._thread.start()
        try:
            self.port = self._run(self._start())
        except BaseException:
            self._stop_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run(self._close())
        finally:
            self._stop_loop()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _close(self) -> None:
        self._closing.set()  # ends the hanging requests
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        moved = request.rel_url.path.startswith("/moved/")
        key = _key(request.rel_url)
        sample = self._samples.get(key.removeprefix("/moved") if moved else key)
        if sample is None or (moved and sample.behaviour != "redirect"):
            return web.Response(status=404, text=PAGE.format(title="Not found"), content_type="text/html")
        if sample.behaviour == "redirect" and not moved:
            return web.Response(status=301, headers={"Location": f"/moved{key}"})
        return await self._behave(request, sample)

    async def _behave(self, request: web.Request, sample: DemoSample) -> web.StreamResponse:  # noqa: PLR0911 - one per behaviour
        match sample.behaviour:
            case "not_found" | "gone" | "forbidden" | "rate_limited" | "server_error" | "unavailable" as failure:
                headers = {"Retry-After": "120"} if failure in ("rate_limited", "unavailable") else None
                page = PAGE.format(title=failure.replace("_", " "))
                return web.Response(status=STATUSES[failure], text=page, content_type="text/html", headers=headers)
            case "redirect_loop":
                return web.Response(status=302, headers={"Location": _key(request.rel_url)})
            case "redirect_private":
                return web.Response(status=302, headers={"Location": PRIVATE_TARGET})
            case "html_as_jpeg" | "html_page" as page_kind:
                kind = "image/jpeg" if page_kind == "html_as_jpeg" else "text/html"
                return web.Response(body=PAGE.format(title="Welcome").encode(), content_type=kind)
            case "svg":
                return web.Response(text=SVG, content_type="image/svg+xml")
            case "bomb":
                return web.Response(body=picture_bytes.bomb_bytes(), content_type="image/png")
            case "hang":
                return await self._hang(request)
            case _:
                return await self._send_picture(request, sample)

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg", "Content-Length": "20000"})
        await response.prepare(request)
        await response.write(b"\xff\xd8\xff\xe0")
        try:
            async with asyncio.timeout(LONGEST_HANG_S):
                await self._closing.wait()
        except TimeoutError:
            pass
        return _hang_up(request, response)

    async def _send_picture(self, request: web.Request, sample: DemoSample) -> web.StreamResponse:
        if sample.behaviour == "tiff":
            return web.Response(
                body=await asyncio.to_thread(picture_bytes.tiff_bytes, sample), content_type="image/tiff"
            )
        body = await asyncio.to_thread(picture_bytes.encode_picture, sample)
        kind = picture_bytes.content_type(sample)
        if sample.url.endswith(".jpg"):
            kind = "image/jpeg"  # like hosts that go by the file name
        if sample.behaviour == "truncated_image":
            body = body[: len(body) * 2 // 5]
        if sample.behaviour == "truncated_body":
            response = web.StreamResponse(headers={"Content-Type": kind, "Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            return _hang_up(request, response)
        if sample.behaviour == "huge":
            body += bytes(picture_bytes.HUGE_BYTES - len(body))
        headers = {"X-Robots-Tag": "noai, noimageai"} if sample.behaviour == "opt_out" else None
        return web.Response(body=body, content_type=kind, headers=headers)


def _hang_up(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Close the connection before the promised length is sent."""
    if request.transport is not None:
        request.transport.close()
    return response
