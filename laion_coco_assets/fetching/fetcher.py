"""URLs in, images or reasons out: the one entrance to this package. Runs its event loop in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.duplicates import SeenUrls
from laion_coco_assets.fetching.fetched import Fetched
from laion_coco_assets.fetching.http_session import tls_context
from laion_coco_assets.fetching.loop import run
from laion_coco_assets.fetching.pipe import ClosedError, RowPipe
from laion_coco_assets.fetching.runtime import FetchRuntime, StreamRows

__all__ = ["FetchDeployment", "Fetched", "Fetcher"]

logger = logging.getLogger(__name__)

#: Rows that change threads together, at most; fewer where `look_ahead` is short, so that most of it stays under way.
_BATCH_ROWS: Final = 32
T = TypeVar("T")
#: A URL or an image, and the earlier row that had its URL, if one had.
_Item = tuple[T | None, int | None]


class Fetcher:
    """Fetches within a profile's `settings` and a machine's `deployment`. A context manager; it works only inside `with`.

    >>> with Fetcher(profile.fetch, FetchDeployment()) as fetcher:  # doctest: +SKIP
    ...     for fetched in fetcher.fetch(urls):
    ...         print(fetched.reason or fetched.format)

    Raises:
        UserError: the deployment's `ca_file` cannot be used.
    """

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment | None = None) -> None:
        self._settings = settings
        self._deployment = deployment or FetchDeployment()
        tls_context(self._deployment)  # so that a file that cannot be used fails now
        self._thread: threading.Thread | None = None
        self._pipes: set[RowPipe[Any, Fetched]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._runtime: FetchRuntime

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
            for pipe in list(self._pipes):
                pipe.close()

    async def _serve(self, started: "Future[None]") -> None:
        """The thread's whole life. What is still under way at its end is cancelled before anything is closed."""
        try:
            self._loop = asyncio.get_running_loop()
            # A server's broken TLS or reset connection is expected; asyncio would print it with a traceback.
            self._loop.set_exception_handler(lambda _, context: logger.debug("event loop: %s", context.get("message")))
            self._stop = asyncio.Event()
            self._runtime = FetchRuntime(self._settings, self._deployment)
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
            await self._runtime.close()

    def fetch(self, urls: Iterable[str | None], seen: SeenUrls | None = None) -> Generator[Fetched, None, None]:
        """One `Fetched` per URL, in the order of `urls`, which is read only a bounded way ahead, in the caller's thread.

        A URL that was in `urls` before, or in `seen`, is a duplicate_url and not requested again. Closing the iterator,
        or leaving its loop by an exception, ends what is under way before it returns.

        Raises:
            RuntimeError: the fetcher is not entered, or no decoding worker can be started.
            UserError: this machine has no descriptors left.
        """
        self._check_entered()
        known = seen if seen is not None else SeenUrls()
        rows = self._runtime.new_stream()

        async def fetch(row: int, item: _Item[str]) -> Fetched:
            url, first = item
            return await rows.fetch(row, url) if first is None else _duplicate(first)  # whatever else is wrong with it

        return self._stream(((url, known.add(url)) for url in urls), rows, fetch, self._deployment.look_ahead)

    @property
    def max_bytes(self) -> int:
        """Bytes that an image may have."""
        return self._settings.max_bytes

    def inspect(
        self, images: Iterable[tuple[str | None, bytes | None]], seen: SeenUrls | None = None
    ) -> Generator[Fetched, None, None]:
        """The same for (URL, image) pairs of a source that has the images: the same limits, without the network.

        They are read twice as far ahead as there are decoding workers.
        """
        self._check_entered()
        known = seen if seen is not None else SeenUrls()
        rows = self._runtime.new_stream()

        async def inspect(_: int, item: _Item[bytes]) -> Fetched:
            image, first = item
            return await rows.inspect(image) if first is None else _duplicate(first)

        items = ((image, known.add(url)) for url, image in images)
        return self._stream(items, rows, inspect, 2 * self._deployment.decode_processes)

    def _check_entered(self) -> None:
        if self._thread is None:
            raise RuntimeError("a Fetcher fetches inside `with` only; this one is closed")

    def _stream(
        self,
        items: Iterable[_Item[T]],
        rows: StreamRows,
        work: Callable[[int, _Item[T]], Coroutine[Any, Any, Fetched]],
        look_ahead: int,
    ) -> Generator[Fetched, None, None]:
        batch = max(1, min(_BATCH_ROWS, look_ahead // 4))
        pipe = RowPipe(self._loop, work, rows.release_through, batch)
        self._pipes.add(pipe)
        source = iter(items)
        more = True
        read = returned = 0
        try:
            self._check_entered()
            while True:
                while more and read < returned + look_ahead:
                    room = min(batch, returned + look_ahead - read)
                    next_items = list(islice(source, room))
                    more = bool(next_items)
                    if next_items:
                        read += len(next_items)
                        pipe.submit(next_items)
                if returned == read:
                    return
                results = pipe.take()
                while results:
                    self._check_entered()
                    returned += 1
                    yield results.popleft().result()
        except ClosedError:
            raise RuntimeError("the fetcher was closed while it was being read from") from None
        finally:
            pipe.cancel()
            self._pipes.discard(pipe)


def _duplicate(first: int) -> Fetched:
    return Fetched(Reason.DUPLICATE_URL, f"same URL as row {first}", duplicate_of=first)
