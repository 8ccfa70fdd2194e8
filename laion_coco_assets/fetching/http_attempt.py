"""One attempt to download a URL: what is known of it, and the errors that end it. No network here."""

from dataclasses import dataclass

from laion_coco_assets.contract.reasons import Reason, RejectedError


@dataclass(slots=True)
class AttemptRecord:
    """What is known of a URL's last attempt, whatever became of it."""

    http_status: int | None = None
    final_url: str | None = None
    server: str = ""  # host:port of the last request
    answered: bool = False  # whether that server answered

    def restart(self) -> None:
        """For another attempt: nothing has been answered yet."""
        self.http_status, self.final_url = None, None


class AttemptError(RejectedError):
    """A failed attempt that knows about the next one.

    Attributes:
        final: another attempt would end the same way.
        retry_after_s: seconds that the server asks to wait before the next one.
        throttles_host: the answer asks for fewer requests to the whole host, not to its URL alone.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        final: bool = False,
        retry_after_s: float | None = None,
        throttles_host: bool = False,
    ) -> None:
        super().__init__(reason, detail)
        self.final = final
        self.retry_after_s = retry_after_s
        self.throttles_host = throttles_host


class BreakerOpenError(AttemptError):
    """The server's circuit breaker is open: no request was sent."""
