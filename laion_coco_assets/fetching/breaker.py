"""Circuit breakers: no requests to servers that keep failing, or that ask for a long pause."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from laion_coco_assets.contract.reasons import Rejection

#: Servers that are remembered. The one unchanged for longest is forgotten first.
_MAX_SERVERS: Final = 50_000
#: The longest Retry-After that counts.
_MAX_RETRY_AFTER_S: Final = 86_400.0


class _Failures:
    __slots__ = ("count", "last", "open_until")

    def __init__(self) -> None:
        self.count = 0
        self.open_until = 0.0
        self.last: Rejection | None = None


class CircuitBreakers:
    """One circuit breaker per server (host:port). Belongs to one event loop; `clock` gives seconds.

    A breaker opens after `max_failures` consecutive failures, for `open_s` seconds, and at once when the server asks for
    a long pause. While it is open, the server's rows are rejected without a request. Then it is half-open: requests are
    sent again, the next failure opens it for `open_s` again, and the next answer closes it. With `max_failures` 0 no
    breaker ever opens.
    """

    def __init__(self, max_failures: int, open_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._max_failures = max_failures
        self._open_s = open_s
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        #: Until when a server asked for no requests, and what its rows are rejected with.
        self._retry_after: OrderedDict[str, tuple[float, Rejection]] = OrderedDict()

    def rejection(self, server: str) -> Rejection | None:
        """What the server's rows are rejected with while its breaker is open; None otherwise."""
        until, asked = self._retry_after.get(server, (0.0, None))
        if asked is not None and self._clock() < until:
            return asked
        failures = self._failures.get(server)
        if failures is not None and failures.last is not None and self._clock() < failures.open_until:
            detail = (
                f"not requested: {failures.count} in a row failed on this host, the last with: {failures.last.detail}"
            )
            return Rejection(failures.last.reason, detail)
        return None

    def open_for(self, server: str, seconds: float, rejection: Rejection) -> None:
        """Opens the breaker for as long as the server's Retry-After says, at most a day, whatever else it answers."""
        if not self._max_failures:
            return
        detail = f"not requested: the host asked for no requests for {seconds:.0f} s ({rejection.detail})"
        until = self._clock() + min(seconds, _MAX_RETRY_AFTER_S)
        self._retry_after.pop(server, None)
        self._retry_after[server] = until, Rejection(rejection.reason, detail)
        if len(self._retry_after) > _MAX_SERVERS:
            self._retry_after.popitem(last=False)

    def record_answer(self, server: str) -> None:
        """The server gave an answer, other than one that throttles: the breaker closes."""
        self._failures.pop(server, None)

    def record_failure(self, server: str, rejection: Rejection) -> None:
        """A row ended without an answer from the server, or the server throttled it."""
        if not self._max_failures:
            return
        failures = self._failures.setdefault(server, _Failures())
        self._failures.move_to_end(server)
        failures.count += 1
        failures.last = rejection
        if failures.count >= self._max_failures:
            failures.open_until = self._clock() + self._open_s
        if len(self._failures) > _MAX_SERVERS:
            self._failures.popitem(last=False)
