"""URLs in, pictures or reasons out: the one door of this package. Runs its event loop in a thread of its own."""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.budget import ByteBudget, OverBudgetError
from laion_coco_assets.fetching.client import Client, Trail
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.duplicates import SeenUrls
from laion_coco_assets.fetching.exchange import ClosedError, Exchange
from laion_coco_assets.fetching.loop import run
from laion_coco_assets.fetching.reasons import Reason, RejectedError, Rejection
from laion_coco_assets.fetching.urls import check_url
from laion_coco_assets.fetching.workers import DecodeWorkers
from laion_coco_assets.shards.profile import FetchSettings

__all__ = ["FetchDeployment", "Fetched", "Fetcher"]

logger = logging.getLogger(__name__)

#: Rows that change threads together, at most; fewer where `look_ahead` is short, so that most of it stays under way.
_BATCH_ROWS: Final = 32
T = TypeVar("T")
#: A URL or an image, and the row that had its URL before, if one had.
_Item = tuple[T | None, int | None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one URL. Without a `reason`, `image` and all that describes it is there.

    `http_status` and `final_url` (after redirects) are those of the last answer that came, None if none did; sizes are
    in pixels after EXIF orientation; `sha256` is of `image`, the bytes as they were served; `perceptual_hash` is there if
    the settings ask for it. `duplicate_of` is the number of the row that had the URL first, if the reason is
    duplicate_url.
    """

    reason: Reason | None
    detail: str | None = None
    http_status: int | None = None
    final_url: str | None = None
    sha256: str | None = None
    format: str | None = None
    image_width: int | None = None
    image_height: int | None = None
    perceptual_hash: str | None = None
    duplicate_of: int | None = None
    image: bytes | None = None


class Fetcher:
    """Fetches within `settings`, by the means of `deployment`. A context manager; nothing runs outside of it.

    >>> with Fetcher(profile.fetch, FetchDeployment()) as fetcher:  # doctest: +SKIP
    ...     for fetched in fetcher.fetch(urls):
    ...         print(fetched.reason or fetched.format)

    Raises UserError if the deployment's `ca_file` can not be used.
    """

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment | None = None) -> None:
        self._settings = settings
        self._deployment = deployment or FetchDeployment()
        self._context = _tls_context(self._deployment)
        self._thread: threading.Thread | None = None
        self._exchanges: set[Exchange[Any, Fetched]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._client: Client
        self._workers: DecodeWorkers

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("this fetcher is at work already")
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: run(self._serve(started)), name="laion-coco-fetcher", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None
            for exchange in list(self._exchanges):
                exchange.close()

    async def _serve(self, started: "Future[None]") -> None:
        """The thread's whole life. What is still under way at its end is cancelled before anything is closed."""
        try:
            self._loop = asyncio.get_running_loop()
            # A stranger's broken TLS or reset connection is no news; asyncio would print it with a traceback.
            self._loop.set_exception_handler(lambda _, context: logger.debug("event loop: %s", context.get("message")))
            self._stop = asyncio.Event()
            self._client = Client(self._settings, self._deployment, self._context)
            self._workers = DecodeWorkers(
                self._settings,
                count=self._deployment.decode_workers,
                max_bytes=self._settings.max_bytes,
                deadline_s=self._deployment.decode_deadline_s,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            await self._stop.wait()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
        finally:
            await self._client.close()
            await self._workers.close()

    def fetch(self, urls: Iterable[str | None], seen: SeenUrls | None = None) -> Generator[Fetched, None, None]:
        """One `Fetched` per URL, in the order of `urls`, which is read only a bounded way ahead, in the caller's thread.

        A URL that was in `urls` before, or in `seen`, is a duplicate_url and not asked for again. Closing the iterator,
        or leaving its loop by an exception, ends what is under way before it returns. Raises RuntimeError if the
        fetcher is not entered, or no decoding worker can be started.
        """
        self._check_entered()
        known = seen if seen is not None else SeenUrls()
        rows = self._rows()
        return self._stream(((url, known.add(url)) for url in urls), rows, rows.fetch, self._deployment.look_ahead)

    @property
    def max_bytes(self) -> int:
        """Bytes that an image may have."""
        return self._settings.max_bytes

    def judge(
        self, images: Iterable[tuple[str | None, bytes | None]], seen: SeenUrls | None = None
    ) -> Generator[Fetched, None, None]:
        """Likewise for images that are there already, with their URLs: by the same limits, without the network.

        They are read twice as far ahead as there are decoding workers.
        """
        self._check_entered()
        known = seen if seen is not None else SeenUrls()
        rows = self._rows()
        given = ((image, known.add(url)) for url, image in images)
        return self._stream(given, rows, rows.judge, 2 * self._deployment.decode_workers)

    def _rows(self) -> "_Rows":
        return _Rows(self._client, self._workers, ByteBudget(self._deployment.max_bytes_held), self.max_bytes)

    def _check_entered(self) -> None:
        if self._thread is None:
            raise RuntimeError("a Fetcher fetches inside `with` only; this one is closed")

    def _stream(
        self,
        items: Iterable[_Item[T]],
        rows: "_Rows",
        work: Callable[[int, _Item[T]], Coroutine[Any, Any, Fetched]],
        look_ahead: int,
    ) -> Generator[Fetched, None, None]:
        batch = max(1, min(_BATCH_ROWS, look_ahead // 4))
        exchange = Exchange(self._loop, work, rows.budget.advance, batch)
        self._exchanges.add(exchange)
        source = iter(items)
        more = True
        read = given_back = 0
        try:
            self._check_entered()
            while True:
                while more and read < given_back + look_ahead:
                    room = min(batch, given_back + look_ahead - read)
                    next_ones = list(islice(source, room))
                    more = bool(next_ones)
                    if next_ones:
                        read += len(next_ones)
                        exchange.submit(next_ones)
                if given_back == read:
                    return
                ended = exchange.take()
                while ended:
                    self._check_entered()
                    given_back += 1
                    yield ended.popleft().result()
        except ClosedError:
            raise RuntimeError("the fetcher was closed while it was being read from") from None
        finally:
            exchange.end()
            self._exchanges.discard(exchange)


class _Rows:
    """The rows of one `fetch` or `judge` call."""

    def __init__(self, client: Client, workers: DecodeWorkers, budget: ByteBudget, max_bytes: int) -> None:
        self.budget = budget
        self._client = client
        self._workers = workers
        self._max_bytes = max_bytes

    async def fetch(self, row: int, item: _Item[str]) -> Fetched:
        text, first = item
        if first is not None:  # before anything else: a repeated URL is a duplicate whatever is wrong with it
            self.budget.drop(row)
            return _duplicate(first)
        trail = Trail()
        verdict = await self._download(row, text, trail)
        if isinstance(verdict, Rejection):
            self.budget.drop(row)
            return Fetched(verdict.reason, verdict.detail, trail.http_status, trail.final_url)
        return verdict

    async def judge(self, row: int, item: _Item[bytes]) -> Fetched:  # noqa: ARG002 - as Exchange calls it
        image, first = item
        if first is not None:
            return _duplicate(first)
        if image is None:
            return Fetched(Reason.NOT_AN_IMAGE, "the source has no image for it")
        if len(image) > self._max_bytes:
            return Fetched(Reason.TOO_LARGE, f"more than {self._max_bytes} bytes")
        verdict = await self._judged(image, Trail())
        return Fetched(verdict.reason, verdict.detail) if isinstance(verdict, Rejection) else verdict

    async def _download(self, row: int, text: str | None, trail: Trail) -> Fetched | Rejection:
        try:
            url = check_url(text)
            while True:
                await self.budget.admitted(row)
                try:
                    body = await self._client.download(url, trail, lambda size: self.budget.hold(row, size))
                    break
                except OverBudgetError:
                    continue
        except RejectedError as error:
            return error.rejection
        return await self._judged(body, trail)

    async def _judged(self, body: bytes, trail: Trail) -> Fetched | Rejection:
        judged = await self._workers.judge(body)
        if isinstance(judged, Rejection):
            return judged
        info = judged.info
        return Fetched(
            reason=None,
            http_status=trail.http_status,
            final_url=trail.final_url,
            sha256=judged.sha256,
            format=info.format,
            image_width=info.width,
            image_height=info.height,
            perceptual_hash=info.perceptual_hash,
            image=body,
        )


def _duplicate(first: int) -> Fetched:
    return Fetched(Reason.DUPLICATE_URL, f"same URL as row {first}", duplicate_of=first)


def _tls_context(deployment: FetchDeployment) -> ssl.SSLContext:
    """One context for all connections: making one costs more than a request."""
    try:
        context = ssl.create_default_context(cafile=deployment.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"{deployment.ca_file}: not a usable file of certificate authorities ({error}); ca_file must be PEM"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
