"""What becomes of one URL or one image: the way through network and gate, on the means of one event loop."""

import ssl
from dataclasses import dataclass

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.contract.reasons import Reason, RejectedError, Rejection
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.budget import Account, ByteBudget
from laion_coco_assets.fetching.client import Client, Trail
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.descriptors import raise_limit
from laion_coco_assets.fetching.urls import check_url
from laion_coco_assets.images.workers import DecodeWorkers


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


class Means:
    """A client and decoding workers. Belongs to the event loop that is running when it is made.

    Raises this process's limit of open files as far as it may.

    Raises UserError if the deployment's `ca_file` can not be used.
    """

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment) -> None:
        raise_limit()
        self._limit = deployment.max_bytes_held
        self._max_bytes = settings.max_bytes
        self._client = Client(settings, deployment, tls_context(deployment))
        self._workers = DecodeWorkers(
            settings,
            count=deployment.decode_workers,
            max_bytes=settings.max_bytes,
            deadline_s=deployment.decode_deadline_s,
        )

    def call(self) -> "Outcomes":
        """For the rows of one `fetch` or `judge`, which hold bytes on one account."""
        return Outcomes(self._client, self._workers, ByteBudget(self._limit), self._max_bytes)

    async def close(self) -> None:
        """Ends connections and processes. Nothing may be under way."""
        await self._client.close()
        await self._workers.close()


class Outcomes:
    """The rows of one call, by number."""

    def __init__(self, client: Client, workers: DecodeWorkers, budget: ByteBudget, max_bytes: int) -> None:
        self._budget = budget
        self._client = client
        self._workers = workers
        self._max_bytes = max_bytes

    def advance(self, row: int) -> None:
        """Rows up to `row` were given back: their bytes are held no more."""
        self._budget.advance(row)

    def drop(self, row: int) -> None:
        """`row` holds nothing."""
        self._budget.settle(row, 0)

    def end(self) -> None:
        """No more rows come: nothing is kept for the call beyond its rows."""

    async def fetch(self, row: int, text: str | None) -> Fetched:
        """What the URL leads to."""
        trail = Trail()
        try:
            body = await self._client.download(check_url(text), trail, Account(self._budget, row))
            return await self._judged(body, trail)
        except RejectedError as error:
            self.drop(row)
            return Fetched(error.rejection.reason, error.rejection.detail, trail.http_status, trail.final_url)
        except BaseException:
            self.drop(row)
            raise

    async def judge(self, image: bytes | None) -> Fetched:
        """Whether an image that is there already passes the gate."""
        if image is None:
            return Fetched(Reason.NOT_AN_IMAGE, "the source has no image for it")
        if len(image) > self._max_bytes:
            return Fetched(Reason.TOO_LARGE, f"more than {self._max_bytes} bytes")
        try:
            return await self._judged(image, Trail())
        except RejectedError as error:
            return Fetched(error.rejection.reason, error.rejection.detail)

    async def _judged(self, body: bytes, trail: Trail) -> Fetched:
        judged = await self._workers.judge(body)
        if isinstance(judged, Rejection):
            raise RejectedError(judged.reason, judged.detail)
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


def tls_context(deployment: FetchDeployment) -> ssl.SSLContext:
    """One context for all connections: making one costs more than a request. Raises UserError."""
    try:
        context = ssl.create_default_context(cafile=deployment.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"{deployment.ca_file}: not a usable file of certificate authorities ({error}); ca_file must be PEM"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
