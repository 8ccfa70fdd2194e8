"""robots.txt (RFC 9309): whether a host's rules allow a URL. `client` fetches the file."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from protego import Protego
from yarl import URL

from laion_coco_assets.contract.reasons import Reason, RejectedError, Rejection

#: RFC 9309, 2.5: at least this much is to be read; what comes after it is not.
MAX_ROBOTS_BYTES: Final = 500 << 10
#: RFC 9309, 2.3.1.2: at least five redirects are to be followed.
ROBOTS_REDIRECTS: Final = 5

#: RFC 9309, 2.4: not to be kept for longer than a day.
_KEPT_S: Final = 86_400.0
#: How long a server's failure, or no answer at all, counts.
_KEPT_FAILURE_S: Final = 60.0
_CACHED_ORIGINS: Final = 20_000
#: Of all files together, as served; parsed they take a few times that.
_CACHED_BYTES: Final = 16 << 20

_AGENT_LINE: Final = re.compile(r"\s*user[- ]?agent\s*[:\s]\s*([^#]*)", re.IGNORECASE)
_NOBODY: Final = "User-agent: !"


@dataclass(frozen=True, slots=True)
class RobotsAnswer:
    """The answer to a request for a robots.txt: the last status, and the body of a 2xx, cut at MAX_ROBOTS_BYTES."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    """One origin's rules: None if everything is allowed, a parsed file, or why everything is closed."""

    rules: Protego | Rejection | None
    size: int
    until: float


class Robots:
    """A cache of the rules of all origins (scheme, host and port), each fetched once. Belongs to one event loop.

    `fetch` gets a robots.txt; what it raises as RejectedError (no address, no connection, no answer in time) is the
    reason for every row of that origin: where the rules are out of reach, RFC 9309 forbids everything. `clock` gives
    seconds. The origin that is unused for longest is forgotten first.
    """

    def __init__(
        self, product: str, fetch: Callable[[URL], Awaitable[RobotsAnswer]], clock: Callable[[], float] = monotonic
    ) -> None:
        self._product = product.lower()
        self._fetch = fetch
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0
        self._fetching: dict[str, tuple[asyncio.Lock, int]] = {}

    async def check(self, url: URL) -> None:
        """Returns if `url` is allowed. Raises RejectedError: `robots`, or why its robots.txt did not come."""
        origin = str(url.origin())
        entry = self._cached(origin) or await self._shared_fetch(origin)
        if isinstance(entry.rules, Rejection):
            raise RejectedError(entry.rules.reason, entry.rules.detail)
        if entry.rules is not None and not entry.rules.can_fetch(str(url), self._product):
            raise RejectedError(Reason.ROBOTS, f"robots.txt of {origin} closes this path to {self._product}")

    def _cached(self, origin: str) -> _Entry | None:
        entry = self._entries.get(origin)
        if entry is None or self._clock() >= entry.until:
            return None
        self._entries.move_to_end(origin)
        return entry

    async def _shared_fetch(self, origin: str) -> _Entry:
        """Fetches once, however many rows wait; if the row that fetches is cancelled, the next one does."""
        lock, users = self._fetching.get(origin, (asyncio.Lock(), 0))
        self._fetching[origin] = lock, users + 1
        try:
            async with lock:
                entry = self._cached(origin)
                if entry is None:
                    entry = await self._entry(origin)
                    self._keep(origin, entry)
                return entry
        finally:
            lock, users = self._fetching.pop(origin)
            if users > 1:
                self._fetching[origin] = lock, users - 1

    async def _entry(self, origin: str) -> _Entry:
        try:
            answer = await self._fetch(URL(origin) / "robots.txt")
        except RejectedError as error:
            rejection = error.rejection
            if rejection.reason is Reason.TOO_MANY_REDIRECTS:  # RFC 9309, 2.3.1.2: treated as no file
                return _Entry(None, 0, self._clock() + _KEPT_S)
            failed = Rejection(rejection.reason, f"robots.txt did not come: {rejection.detail}")
            return _Entry(failed, 0, self._clock() + _KEPT_FAILURE_S)
        if 200 <= answer.status < 300:
            rules = Protego.parse(own_groups(answer.body.decode("utf-8", "replace"), self._product))
            return _Entry(rules, len(answer.body), self._clock() + _KEPT_S)
        if answer.status >= 500 or answer.status == 429:
            detail = f"robots.txt of {origin} could not be had (HTTP {answer.status}), so everything is closed"
            return _Entry(Rejection(Reason.ROBOTS, detail), 0, self._clock() + _KEPT_FAILURE_S)
        return _Entry(None, 0, self._clock() + _KEPT_S)  # no file: everything is allowed

    def _keep(self, origin: str, entry: _Entry) -> None:
        old = self._entries.pop(origin, None)
        self._size += entry.size - (old.size if old else 0)
        self._entries[origin] = entry
        while len(self._entries) > 1 and (self._size > _CACHED_BYTES or len(self._entries) > _CACHED_ORIGINS):
            self._size -= self._entries.popitem(last=False)[1].size


def own_groups(text: str, product: str) -> str:
    """A robots.txt in which every group that is neither for us nor for everybody is for nobody.

    Product tokens are compared whole, in any casing (RFC 9309, 2.2.1). A parser that keeps rules per agent then has two
    agents. Otherwise a hostile file could name enough agents to fill the memory with agents times rules.
    """
    lines = []
    for line in text.removeprefix("\ufeff").splitlines():
        agent_line = _AGENT_LINE.match(line)
        if agent_line is None:
            lines.append(line)
            continue
        agent = re.split(r"[/\s]", agent_line[1].strip(), maxsplit=1)[0].lower()
        lines.append(f"User-agent: {agent}" if agent in ("*", product.lower()) else _NOBODY)
    return "\n".join(lines)
