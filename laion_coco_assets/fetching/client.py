"""One URL's way over the network: attempts, and the redirects of each. What the bytes are, `images` finds out."""

import asyncio
import random

import aiohttp
from yarl import URL

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.contract.reasons import TRANSIENT, Reason, RejectedError
from laion_coco_assets.fetching.byte_budget import ReleaseSlots, Reservation
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.http_attempt import AttemptError, AttemptRecord
from laion_coco_assets.fetching.http_request import Requester, RequestSpec
from laion_coco_assets.fetching.http_response import check_status, read_body, read_start
from laion_coco_assets.fetching.http_session import HttpSession
from laion_coco_assets.fetching.opt_out import product_token
from laion_coco_assets.fetching.robots import MAX_ROBOTS_BYTES, ROBOTS_REDIRECTS, Robots, RobotsAnswer


class Client:
    """Downloads over one session. Belongs to the event loop that is running when it is made.

    Raises:
        UserError: the deployment's `ca_file` cannot be used.
    """

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment) -> None:
        self._settings = settings
        self._deployment = deployment
        self._session = HttpSession(settings, deployment)
        self._requester = Requester(settings, deployment, self._session.client)
        robots = Robots(product_token(settings.user_agent), self._fetch_robots_txt)
        self._robots = robots if settings.robots else None

    async def close(self) -> None:
        """Ends all connections and look-ups."""
        await self._session.close()

    async def download(self, url: URL, record: AttemptRecord, reservation: Reservation) -> bytes:
        """The body that `url` leads to, at most `settings.max_bytes`, for which `reservation` has room from then on.

        Raises:
            RejectedError: no attempt gave a body.
            UserError: this machine can open no connection.
        """

        async def read(response: aiohttp.ClientResponse, release_slots: ReleaseSlots) -> bytes:
            check_status(response)
            self._requester.check_opt_out(response, redirect=False)
            return await read_body(response, self._settings.max_bytes, reservation, release_slots)

        spec = RequestSpec(read, self._settings.max_redirects)
        try:
            body = await self._attempts(url, record, spec, reservation)
        except RejectedError as error:
            self._requester.record_result(record, error)
            raise
        self._requester.record_result(record, None)
        return body

    async def _fetch_robots_txt(self, url: URL) -> RobotsAnswer:
        async def read(response: aiohttp.ClientResponse, _: ReleaseSlots) -> bytes:
            return await read_start(response, MAX_ROBOTS_BYTES) if 200 <= response.status < 300 else b""

        record = AttemptRecord()
        spec = RequestSpec(read, ROBOTS_REDIRECTS, respects_opt_outs=False)
        body = await self._attempts(url, record, spec, Reservation.unlimited())
        return RobotsAnswer(record.http_status or 0, body)

    async def _attempts(self, url: URL, record: AttemptRecord, spec: RequestSpec, reservation: Reservation) -> bytes:
        """The first attempt's body, or that of a later one after transient failures."""
        failures = 0
        while True:
            record.restart()
            reservation.has_waited = False
            try:
                return await self._attempt(url, record, spec, reservation)
            except AttemptError as error:
                last = error
            if reservation.has_waited and last.rejection.reason is Reason.TRUNCATED:
                continue  # our wait for memory made the server give up; the room is reserved, so it will not wait again
            delay_s = self._retry_delay_s(last, failures)
            if delay_s is None or failures == self._settings.retries:
                raise last
            failures += 1
            reservation.shrink(0)
            await asyncio.sleep(delay_s)

    def _retry_delay_s(self, error: AttemptError, failures: int) -> float | None:
        """Seconds until the next attempt, or None if another one is of no use."""
        if error.final or error.rejection.reason not in TRANSIENT:
            return None
        longest: float = self._deployment.max_backoff_s
        backoff: float = self._deployment.backoff_s * 2**failures * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
        retry_after_s = error.retry_after_s or 0.0
        # Jitter on top of what the host asks for, so that its rows do not all come back at one moment.
        return None if retry_after_s > longest else min(retry_after_s + backoff, longest)

    async def _attempt(self, url: URL, record: AttemptRecord, spec: RequestSpec, reservation: Reservation) -> bytes:
        """One attempt: redirects and body within one deadline, which stands still only while waiting for slots or memory."""
        left_s: float = self._settings.total_timeout_s
        for _ in range(spec.max_redirects + 1):
            if self._robots is not None and spec.respects_opt_outs:
                self._requester.check_breaker(url, record)
                await self._robots.check(url)
            outcome, left_s = await self._requester.send(url, record, spec, reservation, left_s)
            if isinstance(outcome, bytes):
                return outcome
            url = outcome
        raise AttemptError(Reason.TOO_MANY_REDIRECTS, f"more than {spec.max_redirects} redirects")
