"""One HTTP request: it waits for its slots, is sent, and its answer's wish for fewer requests is applied to the host."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp
from yarl import URL

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.contract.reasons import Reason, RejectedError
from laion_coco_assets.fetching.breaker import CircuitBreakers
from laion_coco_assets.fetching.byte_budget import ReleaseSlots, Reservation
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.hosts import HostLimits, Slot
from laion_coco_assets.fetching.http_attempt import AttemptError, AttemptRecord, BreakerOpenError
from laion_coco_assets.fetching.http_errors import attempt_errors
from laion_coco_assets.fetching.opt_out import opt_out_signal
from laion_coco_assets.fetching.urls import resolve_redirect

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: Reasons that say that the server is out of reach, if it has not answered.
_UNREACHABLE: Final = frozenset({Reason.DNS, Reason.REFUSED, Reason.TLS, Reason.TIMEOUT})


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """How a URL is requested.

    Attributes:
        read: what to read of the final response, and to raise for a bad one.
        max_redirects: redirects that are followed.
        respects_opt_outs: robots.txt and opt-out headers apply, as to all but a robots.txt itself.
    """

    read: Callable[[aiohttp.ClientResponse, ReleaseSlots], Awaitable[bytes]]
    max_redirects: int
    respects_opt_outs: bool = True


class Requester:
    """Sends requests within the limits of all hosts and of this machine. Belongs to one event loop."""

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._max_backoff_s: float = deployment.max_backoff_s
        self._session = session
        self._hosts = HostLimits(deployment.requests_per_host, spacing_s=deployment.host_spacing_s)
        self._breakers = CircuitBreakers(deployment.breaker_failures, deployment.breaker_open_s)
        self._slots = asyncio.Semaphore(deployment.concurrency)

    async def send(
        self, url: URL, record: AttemptRecord, spec: RequestSpec, reservation: Reservation, left_s: float
    ) -> tuple[bytes | URL, float]:
        """One request, once its slots are free.

        Returns:
            What was read of the answer, or where its redirect leads; and what is left of `left_s` seconds, which pass
            neither while the request waits for slots nor while its body waits for memory.

        Raises:
            AttemptError: it failed, or the server's circuit breaker is open.
            UserError: this machine can open no connection.
        """
        host = url.raw_host or ""
        while True:
            await reservation.wait_to_start()
            async with self._hosts.host_slot(host) as host_slot:
                self.check_breaker(url, record)  # once it is open, the host's rows need no shared slot
                async with self._hosts.shared_slot(host, self._slots, reservation.may_start) as shared_slot:
                    self.check_breaker(url, record)
                    if shared_slot is None:
                        continue  # the byte budget is used up by now: the row waits for it without slots
                    with attempt_errors(record):
                        async with asyncio.timeout(left_s) as deadline:
                            release_slots = partial(_release_slots, deadline, host_slot, shared_slot)
                            outcome = await self._exchange(url, record, spec, release_slots)
                    return outcome, _left_s(deadline)

    async def _exchange(
        self, url: URL, record: AttemptRecord, spec: RequestSpec, release_slots: ReleaseSlots
    ) -> bytes | URL:
        keep_alive = self._hosts.has_more_rows(url.raw_host or "")
        headers = {} if keep_alive else {"Connection": "close"}
        async with self._session.get(url, allow_redirects=False, headers=headers) as response:
            record.http_status, record.final_url, record.answered = response.status, str(url), True
            try:
                if response.status in _REDIRECTS and (location := response.headers.get("Location")) is not None:
                    if spec.respects_opt_outs:
                        self.check_opt_out(response, redirect=True)
                    return resolve_redirect(url, location)
                return await spec.read(response, release_slots)
            except AttemptError as error:
                if error.throttles_host:
                    self._throttle(url, error)
                raise
            finally:
                if not response.content.at_eof():
                    response.close()  # what was not read will not be: the connection is of no more use

    def check_opt_out(self, response: aiohttp.ClientResponse, *, redirect: bool) -> None:
        """Raises RejectedError if a header opts out of machine learning, and the profile respects that."""
        if not self._settings.respect_opt_out:
            return
        signal = opt_out_signal(response.headers, self._settings.user_agent, redirect=redirect)
        if signal is not None:
            raise RejectedError(Reason.OPTED_OUT, signal)

    def check_breaker(self, url: URL, record: AttemptRecord) -> None:
        """Raises BreakerOpenError while the circuit breaker of the URL's server is open."""
        record.server, record.answered = f"{url.raw_host}:{url.port}", False
        rejection = self._breakers.rejection(record.server)
        if rejection is not None:
            raise BreakerOpenError(rejection.reason, rejection.detail, final=True)

    def _throttle(self, url: URL, error: AttemptError) -> None:
        """Applies an answer's Retry-After to the whole host: a pause, or an open breaker where it is too long for one."""
        host, server = url.raw_host or "", f"{url.raw_host}:{url.port}"
        retry_after_s = error.retry_after_s or 0.0
        if retry_after_s > self._max_backoff_s:
            self._breakers.open_for(server, retry_after_s, error.rejection)
            return
        self._hosts.pause(host, retry_after_s)
        self._breakers.record_failure(server, error.rejection)

    def record_result(self, record: AttemptRecord, error: RejectedError | None) -> None:
        """Tells the circuit breaker how a row ended: `error`, or None for a body."""
        if isinstance(error, BreakerOpenError) or (isinstance(error, AttemptError) and error.throttles_host):
            return  # nothing was sent, or `_throttle` has recorded it
        if error is None or record.answered:
            self._breakers.record_answer(record.server)
        elif error.rejection.reason in _UNREACHABLE:
            self._breakers.record_failure(record.server, error.rejection)


@asynccontextmanager
async def _release_slots(deadline: asyncio.Timeout, *slots: Slot) -> AsyncIterator[None]:
    """While it is entered, the deadline stands still and others have the slots."""
    left_s = _left_s(deadline)
    deadline.reschedule(None)
    for slot in slots:
        slot.release()
    yield
    for slot in slots:
        await slot.acquire()
    deadline.reschedule(asyncio.get_running_loop().time() + left_s)


def _left_s(deadline: asyncio.Timeout) -> float:
    when = deadline.when()
    return 0.0 if when is None else max(0.0, when - asyncio.get_running_loop().time())
