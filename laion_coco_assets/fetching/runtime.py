"""What runs on a fetcher's event loop: the client, the decode pool, and the rows of each stream on their way through both."""

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.contract.reasons import Reason, RejectedError, Rejection
from laion_coco_assets.fetching.byte_budget import ByteBudget, Reservation
from laion_coco_assets.fetching.client import Client
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.descriptors import raise_limit
from laion_coco_assets.fetching.fetched import Fetched
from laion_coco_assets.fetching.http_attempt import AttemptRecord
from laion_coco_assets.fetching.urls import check_url
from laion_coco_assets.images.decode_pool import DecodePool


class FetchRuntime:
    """A client and a decode pool. Belongs to the event loop that is running when it is made.

    Raises this process's limit of open files as far as the system allows.

    Raises:
        UserError: the deployment's `ca_file` cannot be used.
    """

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment) -> None:
        raise_limit()
        self._byte_budget = deployment.byte_budget
        self._max_bytes = settings.max_bytes
        self._client = Client(settings, deployment)
        self._decode_pool = DecodePool(
            settings,
            workers=deployment.decode_processes,
            max_bytes=settings.max_bytes,
            timeout_s=deployment.decode_timeout_s,
        )

    def new_stream(self) -> "StreamRows":
        """For the rows of one `fetch` or `inspect`, which share one byte budget."""
        return StreamRows(self._client, self._decode_pool, ByteBudget(self._byte_budget), self._max_bytes)

    async def close(self) -> None:
        """Ends connections and processes. No row may be under way."""
        await self._client.close()
        await self._decode_pool.close()


class StreamRows:
    """The rows of one stream, by number."""

    def __init__(self, client: Client, decode_pool: DecodePool, budget: ByteBudget, max_bytes: int) -> None:
        self._budget = budget
        self._client = client
        self._decode_pool = decode_pool
        self._max_bytes = max_bytes

    def release_through(self, row: int) -> None:
        """Rows up to `row` were returned to the reader: their bytes count no more."""
        self._budget.release_through(row)

    async def fetch(self, row: int, url: str | None) -> Fetched:
        """What the URL leads to."""
        record = AttemptRecord()
        try:
            body = await self._client.download(check_url(url), record, Reservation(self._budget, row))
            return await self._inspected(body, record)
        except RejectedError as error:
            self._budget.shrink(row, 0)
            return Fetched(error.rejection.reason, error.rejection.detail, record.http_status, record.final_url)
        except BaseException:
            self._budget.shrink(row, 0)
            raise

    async def inspect(self, image: bytes | None) -> Fetched:
        """The same for an image that the source has: no network, the same limits."""
        if image is None:
            return Fetched(Reason.NOT_AN_IMAGE, "the source has no image for it")
        if len(image) > self._max_bytes:
            return Fetched(Reason.TOO_LARGE, f"more than {self._max_bytes} bytes")
        try:
            return await self._inspected(image, AttemptRecord())
        except RejectedError as error:
            return Fetched(error.rejection.reason, error.rejection.detail)

    async def _inspected(self, body: bytes, record: AttemptRecord) -> Fetched:
        inspected = await self._decode_pool.inspect(body)
        if isinstance(inspected, Rejection):
            raise RejectedError(inspected.reason, inspected.detail)
        info = inspected.info
        return Fetched(
            reason=None,
            http_status=record.http_status,
            final_url=record.final_url,
            sha256=inspected.sha256,
            format=info.format,
            image_width=info.width,
            image_height=info.height,
            perceptual_hash=info.perceptual_hash,
            image=body,
        )
