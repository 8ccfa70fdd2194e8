"""One URL's way over the network: its tries, its redirects, its body. What bytes mean is `decode`'s affair."""

import asyncio
import errno
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError, TransferEncodingError
from yarl import URL

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.contract.reasons import TRANSIENT, Reason, RejectedError
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.addresses import BlockedAddressError, guarded_socket_factory, parse_networks
from laion_coco_assets.fetching.budget import Account
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.descriptors import lacking
from laion_coco_assets.fetching.hosts import Hosts, Seat
from laion_coco_assets.fetching.opt_out import opt_out_signal, product_token
from laion_coco_assets.fetching.resolver import NoAddressError, Resolver
from laion_coco_assets.fetching.robots import MAX_ROBOTS_BYTES, ROBOTS_REDIRECTS, Robots, RobotsAnswer
from laion_coco_assets.fetching.urls import resolve_redirect

logger = logging.getLogger(__name__)

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NO_ANSWER: Final = frozenset({Reason.DNS, Reason.REFUSED, Reason.TLS, Reason.TIMEOUT})
#: Where the HTTP client's message begins to quote the server.
_OWN_BYTES: Final = re.compile(r""": b['"]""")
_DNS_TTL_S: Final = 300
_DNS_CACHED_HOSTS: Final = 50_000
#: A connection is kept only while another row wants its host, so idle ones need not linger and use up descriptors.
_KEEP_ALIVE_S: Final = 2.0


@dataclass(slots=True)
class Trail:
    """What is known of a URL's last try, whatever became of it."""

    http_status: int | None = None
    final_url: str | None = None
    server: str = ""  # host:port that was asked last
    answered: bool = False  # whether it answered

    def restart(self) -> None:
        self.http_status, self.final_url = None, None


#: What gives up a request's slots, and stops its clock, while it is entered.
_Aside = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Errand:
    """What a request is made for: how far to follow its redirects, what to read of the answer, whose rules to heed."""

    read: Callable[[aiohttp.ClientResponse, _Aside], Awaitable[bytes]]
    max_redirects: int
    polite: bool = True  # heeds robots.txt and opt-out headers, as all but a robots.txt itself does


class _TryError(RejectedError):
    """A failed try that knows when the next one is welcome: `retry_after_s`, or never (`final`).

    `slow_down`: the answer asks so not for its URL alone, but for the host.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        final: bool = False,
        retry_after_s: float | None = None,
        slow_down: bool = False,
    ) -> None:
        super().__init__(reason, detail)
        self.final = final
        self.retry_after_s = retry_after_s
        self.slow_down = slow_down


class _NotAskedError(_TryError):
    """The host is being left alone."""


class Client:
    """Downloads over one aiohttp session. Belongs to the event loop that is running when it is made."""

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._deployment = deployment
        allowed = parse_networks(deployment.allow_networks)
        self._hosts = Hosts(
            deployment.per_host,
            deployment.host_failures,
            deployment.host_rest_s,
            spacing_s=deployment.host_spacing_s,
        )
        self._slots = asyncio.Semaphore(deployment.concurrency)
        self._robots = Robots(product_token(settings.user_agent), self._robots_txt) if settings.robots else None
        self._resolver = Resolver(deployment.hosts, deployment.nameservers, allowed)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # `_slots` and `_hosts` count instead, outside of the deadlines
                resolver=self._resolver,
                ttl_dns_cache=_DNS_TTL_S,
                dns_cache_max_size=_DNS_CACHED_HOSTS,
                keepalive_timeout=_KEEP_ALIVE_S,
                socket_factory=guarded_socket_factory(allowed),
                ssl=context,
            ),
            timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout_s),
            headers={"User-Agent": settings.user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # no proxy or .netrc from the environment: a proxy would hide addresses from the guard
        )

    async def close(self) -> None:
        """Ends all connections and look-ups."""
        await self._session.close()
        await self._resolver.close()

    async def download(self, url: URL, trail: Trail, account: Account) -> bytes:
        """The body that `url` leads to, at most `settings.max_bytes`, which `account` holds from then on.

        Raises RejectedError, or UserError if this machine can open no connection.
        """

        async def read(response: aiohttp.ClientResponse, aside: _Aside) -> bytes:
            _check_status(response)
            self._check_opt_out(response, redirect=False)
            return await self._body(response, account, aside)

        errand = _Errand(read, self._settings.max_redirects)
        try:
            body = await self._tries(url, trail, errand, account)
        except _NotAskedError:
            raise
        except RejectedError as error:
            if isinstance(error, _TryError) and error.slow_down:
                pass  # `_heed` has seen to it
            elif trail.answered:
                self._hosts.answered(trail.server)
            elif error.rejection.reason in _NO_ANSWER:
                self._hosts.failed(trail.server, error.rejection)
            raise
        self._hosts.answered(trail.server)
        return body

    async def _robots_txt(self, url: URL) -> RobotsAnswer:
        async def read(response: aiohttp.ClientResponse, _: _Aside) -> bytes:
            if not 200 <= response.status < 300:
                return b""
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_ROBOTS_BYTES:
                    break
            return bytes(body[:MAX_ROBOTS_BYTES])

        trail = Trail()
        body = await self._tries(url, trail, _Errand(read, ROBOTS_REDIRECTS, polite=False), Account.of_nobody())
        return RobotsAnswer(trail.http_status or 0, body)

    async def _tries(self, url: URL, trail: Trail, errand: _Errand, account: Account) -> bytes:
        failures = 0
        while True:
            trail.restart()
            account.waited = False
            try:
                return await self._follow(url, trail, errand, account)
            except _TryError as error:
                last = error
            if account.waited and last.rejection.reason is Reason.TRUNCATED:
                continue  # it was we who kept the server waiting; the body has its room now, so is not kept again
            wait_s = self._wait(last, failures)
            if wait_s is None or failures == self._settings.retries:
                raise last
            failures += 1
            account.settle(0)
            await asyncio.sleep(wait_s)

    def _wait(self, error: _TryError, failures: int) -> float | None:
        """Seconds until the next try, or None if there is no use in one."""
        if error.final or error.rejection.reason not in TRANSIENT:
            return None
        longest: float = self._deployment.max_backoff_s
        backoff: float = self._deployment.backoff_s * 2**failures * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
        asked_for = error.retry_after_s or 0.0
        # On top of what the host asks for, so that its rows do not all come back at one moment.
        return None if asked_for > longest else min(asked_for + backoff, longest)

    async def _follow(self, url: URL, trail: Trail, errand: _Errand, account: Account) -> bytes:
        """One try: redirects and body within one deadline, which stands still only while waiting for a slot of ours, or
        for memory."""
        left_s: float = self._settings.total_timeout_s
        for _ in range(errand.max_redirects + 1):
            if self._robots is not None and errand.polite:
                self._greet(url, trail)
                await self._robots.check(url)
            outcome, left_s = await self._visit(url, trail, errand, account, left_s)
            if isinstance(outcome, bytes):
                return outcome
            url = outcome
        raise _TryError(Reason.TOO_MANY_REDIRECTS, f"more than {errand.max_redirects} redirects")

    async def _visit(
        self, url: URL, trail: Trail, errand: _Errand, account: Account, left_s: float
    ) -> tuple[bytes | URL, float]:
        """One request, in its turn: what came of it, and what is left of `left_s`."""
        host = url.raw_host or ""
        while True:
            await account.admitted()
            async with self._hosts.slot(host) as slot:
                self._greet(url, trail)  # rows of a host that is left alone do not wait for a turn
                async with self._hosts.turn(host, self._slots, account.admits) as turn:
                    self._greet(url, trail)
                    if turn is None:
                        continue  # memory is full by now: it waits for that without slots
                    with _explained(trail):
                        async with asyncio.timeout(left_s) as deadline:
                            aside = partial(_aside, deadline, slot, turn)
                            outcome = await self._hop(url, trail, errand, aside, keep=self._hosts.wanted(host))
                    return outcome, _left_s(deadline)

    def _greet(self, url: URL, trail: Trail) -> None:
        trail.server, trail.answered = f"{url.raw_host}:{url.port}", False
        resting = self._hosts.resting(trail.server)
        if resting is not None:
            raise _NotAskedError(resting.reason, resting.detail, final=True)

    async def _hop(self, url: URL, trail: Trail, errand: _Errand, aside: _Aside, *, keep: bool) -> bytes | URL:
        """One request: what was read of its answer, or where its redirect leads."""
        headers = {} if keep else {"Connection": "close"}
        async with self._session.get(url, allow_redirects=False, headers=headers) as response:
            trail.http_status, trail.final_url, trail.answered = response.status, str(url), True
            try:
                if response.status in _REDIRECTS and (location := response.headers.get("Location")) is not None:
                    if errand.polite:
                        self._check_opt_out(response, redirect=True)
                    return resolve_redirect(url, location)
                return await errand.read(response, aside)
            except _TryError as error:
                if error.slow_down:
                    self._heed(url, error)
                raise
            finally:
                if not response.content.at_eof():
                    response.close()  # what was not read will not be: the connection is of no more use

    def _heed(self, url: URL, error: _TryError) -> None:
        """Does for the whole host what its answer asks: a pause, or being left alone where that would last too long."""
        host, server = url.raw_host or "", f"{url.raw_host}:{url.port}"
        asked_for = error.retry_after_s or 0.0
        if asked_for > self._deployment.max_backoff_s:
            self._hosts.leave_alone(server, asked_for, error.rejection)
            return
        self._hosts.pause(host, asked_for)
        self._hosts.failed(server, error.rejection)

    def _check_opt_out(self, response: aiohttp.ClientResponse, *, redirect: bool) -> None:
        if not self._settings.respect_opt_out:
            return
        signal = opt_out_signal(response.headers, self._settings.user_agent, redirect=redirect)
        if signal is not None:
            raise RejectedError(Reason.OPTED_OUT, signal)

    async def _body(self, response: aiohttp.ClientResponse, account: Account, aside: _Aside) -> bytes:
        limit = self._settings.max_bytes
        promised = response.content_length
        if promised is not None and promised > limit:
            raise RejectedError(Reason.TOO_LARGE, f"{promised} bytes announced, more than {limit}")
        _end_with_connection(response)
        if promised is not None:
            await account.hold(promised, promised, aside)
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise RejectedError(Reason.TOO_LARGE, f"more than {limit} bytes")
            if promised is None:
                await account.hold(size, limit, aside)
            chunks.append(chunk)
        account.settle(size)
        return b"".join(chunks)


@asynccontextmanager
async def _aside(deadline: asyncio.Timeout, *seats: Seat) -> AsyncIterator[None]:
    """Meanwhile no time runs, and others have the slots."""
    left_s = _left_s(deadline)
    deadline.reschedule(None)
    for seat in seats:
        seat.leave()
    yield
    for seat in seats:
        await seat.take()
    deadline.reschedule(asyncio.get_running_loop().time() + left_s)


def _left_s(deadline: asyncio.Timeout) -> float:
    when = deadline.when()
    return 0.0 if when is None else max(0.0, when - asyncio.get_running_loop().time())


def _end_with_connection(response: aiohttp.ClientResponse) -> None:
    """Fails the body's reader when the connection is gone.

    aiohttp does so itself but where a body stops being HTTP halfway: it closes the connection, and the reader would
    wait until the deadline.
    """
    content = response.content

    def ended(closed: "asyncio.Future[None]") -> None:
        if not closed.cancelled():
            closed.exception()  # said to be seen: what it means for the body is told to `content`
        if not content.is_eof() and content.exception() is None:
            content.set_exception(TransferEncodingError("the body stops being HTTP"))

    connection = response.connection
    protocol = None if connection is None else connection.protocol
    if protocol is not None and (closed := protocol.closed) is not None:
        closed.add_done_callback(ended)
    elif not content.is_eof() and content.exception() is None:
        content.set_exception(TransferEncodingError("the body stops being HTTP"))


def _check_status(response: aiohttp.ClientResponse) -> None:
    """Raises _TryError for every status that does not come with the picture."""
    status = response.status
    what = f"HTTP {status}"
    match status:
        case 206:
            raise _TryError(Reason.TRUNCATED, "HTTP 206: a part, though the whole was asked for", final=True)
        case _ if 200 <= status < 300:
            return
        case 408:
            raise _TryError(Reason.TIMEOUT, what)
        case 429:
            raise _TryError(Reason.RATE_LIMITED, what, retry_after_s=_retry_after(response), slow_down=True)
        case _ if 400 <= status < 500:
            raise _TryError(Reason.HTTP_4XX, what)
        case _ if 500 <= status < 600:
            after_s = _retry_after(response)
            slow_down = status == 503 and after_s is not None
            raise _TryError(Reason.HTTP_5XX, what, retry_after_s=after_s, slow_down=slow_down)
        case _:
            raise _TryError(Reason.PROTOCOL, f"{what}, which leads to no picture")


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
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


@contextmanager
def _explained(trail: Trail) -> Iterator[None]:  # noqa: C901, PLR0912 - one branch per kind of failure
    """Turns what aiohttp and the operating system raise into a _TryError with its reason.

    Raises UserError where this machine is to blame.
    """
    try:
        yield
    except RejectedError as error:
        if isinstance(error, _TryError):
            raise
        raise _TryError(error.rejection.reason, error.rejection.detail, final=True) from None
    except aiohttp.ConnectionTimeoutError:
        raise _TryError(Reason.TIMEOUT, "no connection in time") from None
    except TimeoutError:
        what = "the answer did not end in time" if trail.answered else "no answer in time"
        raise _TryError(Reason.TIMEOUT, what) from None
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        if trail.answered:
            raise _TryError(Reason.TRUNCATED, "the encrypted connection broke within the body") from None
        raise _TryError(Reason.TLS, _tls_detail(error)) from None
    except aiohttp.ClientConnectorError as error:
        raise lacking(error.os_error) or _connection_error(error.os_error) from None
    except aiohttp.ClientPayloadError as error:
        raise _TryError(Reason.TRUNCATED, f"the body broke off ({type(error.__cause__ or error).__name__})") from None
    except aiohttp.InvalidURL:
        raise _TryError(Reason.INVALID_URL, "refused by the HTTP client") from None
    except (aiohttp.ClientResponseError, HttpProcessingError) as error:
        said = _OWN_BYTES.split(" ".join(error.message.split()), maxsplit=1)[0]
        raise _TryError(Reason.PROTOCOL, said[:200] or "malformed answer") from None
    except (aiohttp.ServerDisconnectedError, OSError) as error:
        if isinstance(error, OSError) and (ours := lacking(error)) is not None:
            raise ours from None
        if trail.answered:
            raise _TryError(Reason.TRUNCATED, "the connection broke within the body") from None
        raise _TryError(Reason.REFUSED, "the connection was closed without an answer") from None
    except UserError:
        raise
    except Exception as error:  # what a stranger's server can make an HTTP client raise has no end
        logger.warning(
            "unexpected %s from the HTTP client: one row becomes `protocol`", type(error).__name__, exc_info=True
        )
        raise _TryError(Reason.PROTOCOL, f"not understood ({type(error).__name__})") from None


def _tls_detail(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate: {cause.verify_message}"
    return f"handshake: {cause.reason or 'failed'}" if isinstance(cause, ssl.SSLError) else "handshake failed"


def _connection_error(cause: OSError) -> _TryError:
    if isinstance(cause, BlockedAddressError):
        return _TryError(Reason.BLOCKED_ADDRESS, str(cause.args[1]))
    if isinstance(cause, NoAddressError):
        return _TryError(Reason.DNS, str(cause.args[1]), final=cause.final)
    if cause.errno == errno.ETIMEDOUT:
        return _TryError(Reason.TIMEOUT, "no connection in time")
    name = errno.errorcode.get(cause.errno, "") if cause.errno is not None else ""
    return _TryError(Reason.REFUSED, f"no connection ({name or type(cause).__name__})")
