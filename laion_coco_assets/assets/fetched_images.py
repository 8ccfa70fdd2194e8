"""Stage 1: every source row's URL becomes image bytes, or a reason why not."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, Field

from laion_coco_assets.assets.refetch import Refetch, planned_refetch, refetch_shard
from laion_coco_assets.contract.columns import Column
from laion_coco_assets.contract.reasons import Reason, parse_reasons
from laion_coco_assets.contract.shared_columns import INT32, INT64, SOURCE_COLUMNS, STRING
from laion_coco_assets.contract.stage_info import ReusedFile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import SourceError
from laion_coco_assets.fetching.fetched_rows import fetch_shard
from laion_coco_assets.stages.protocols import FetcherFactory, Source
from laion_coco_assets.stages.stage import Rows, Stage

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetcher
    from laion_coco_assets.sources.protocol import SourceShard


class FetchConfig(BaseModel):
    """What one run may ask of the stage."""

    retry: list[str] = Field(
        default_factory=list,
        description="In complete files, fetch the rows with one of these reasons again and keep all other rows; "
        "`transient` means all reasons that may pass with time.",
    )


class FetchedImages(Stage):
    """The images of a shard's URLs, as they were served: one row per source row, with a reason if there is no image.

    Original bytes are kept when they are a supported image within the profile's limits. Nothing is dropped: a URL
    that failed has a reason from a closed list, and the HTTP status if a response came.
    """

    name = StageName.FETCHED_IMAGES.value
    section = "fetch"
    outside_inputs = ("source",)
    kinds = frozenset({"http", "parquet"})
    pool = "fetch"
    resources = frozenset({"source", "fetcher"})
    config_model = FetchConfig
    reasons = tuple(reason.value for reason in Reason)
    columns = (
        *SOURCE_COLUMNS,
        Column("status", STRING, "`ok` or `rejected`", nullable=False),
        Column("reason", STRING, "why there is no image, from a closed list; null if ok"),
        Column("detail", STRING, "what exactly was wrong, in words"),
        Column("http_status", INT32, "null when no response came"),
        Column("final_url", STRING, "where redirects led; null when no response came"),
        Column("sha256", STRING, "SHA-256 of image, hex"),
        Column("format", STRING, "JPEG, PNG, WEBP, GIF or AVIF"),
        Column("image_width", INT32, "pixels, after EXIF orientation"),
        Column("image_height", INT32, "pixels, after EXIF orientation"),
        Column("image_bytes", INT64, "length of image in bytes"),
        Column("perceptual_hash", STRING, "pHash, 16 hex digits; null unless the profile asks for it"),
        Column("md5_matches", pa.bool_(), "whether the bytes have the source's md5; null where it gives none"),
        Column("image", pa.binary(), "the bytes as they were served; null unless ok"),
    )
    figures: ClassVar[Mapping[str, str]] = {
        "ok": "count(*) FILTER (status = 'ok')",
        "fetch_success_share": "avg(CASE WHEN status = 'ok' THEN 1.0 ELSE 0.0 END)",
        "duplicate_url_share": "avg(CASE WHEN reason = 'duplicate_url' THEN 1.0 ELSE 0.0 END)",
        "image_megabytes": "coalesce(sum(image_bytes), 0) / 1e6",
    }

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> None:
        """See `Stage`."""
        parse_reasons(config.get("retry", ()))

    @cached_property
    def source_shard(self) -> "SourceShard":
        """The source shard. Raises SourceError."""
        source: Source = self.run.resources["source"]
        return source.shard(self.shard)

    @property
    def fetcher(self) -> "Fetcher":
        """The run's fetcher, started when the first shard needs it. Raises UserError."""
        factory: FetcherFactory = self.run.resources["fetcher"]
        return self.run.open_once("fetcher", lambda: factory.open(self.profile.fetch))

    @cached_property
    def refetch(self) -> Refetch | None:
        """What is fetched again, if the run names reasons and the shard's file has rows with one. Raises UserError."""
        reasons = parse_reasons(self.run.config.get("retry", ()))
        if not reasons:
            return None
        if self.source_shard.brings_images:
            raise SourceError(f"{self.source_shard.path} brings its images along: there is nothing to fetch again")
        return planned_refetch(self.store, self.key, reasons, self.run.run_id)

    def inputs(self) -> dict[str, str]:
        """See `Stage`."""
        return {"source": self.source_shard.digest}

    def validate(self) -> None:
        """See `Stage`."""
        if self.store.made_from_other(self.key):
            self.run.log.warning(
                f"{self.source_shard.path} changed after shard {self.shard} was fetched: fetching it as it is now"
            )
        _ = self.refetch

    def total(self) -> int:
        """See `Stage`."""
        cap = self.profile.fetch.max_samples
        return self.source_shard.rows if cap is None else min(self.source_shard.rows, cap)

    def rows(self, done: int) -> Iterator[Rows | pa.RecordBatch]:
        """See `Stage`."""
        if self.refetch is not None:
            return refetch_shard(self.store, self.shard, self.fetcher, self.refetch.reasons, done)
        return fetch_shard(self.source_shard, self.fetcher, done, self.profile.fetch.max_samples)

    def metadata(self) -> Mapping[str, Any]:
        """See `Stage`."""
        metadata: dict[str, Any] = {
            "source_rows": self.source_shard.rows,
            "source": str(self.source_shard.path),
            "brings_images": self.source_shard.brings_images,
        }
        if self.refetch is not None:
            metadata["refetches"] = self.refetch.history(self.run.run_id)
        return metadata

    def replaces(self) -> ReusedFile | None:
        """See `Stage`."""
        return None if self.refetch is None else self.refetch.reused_file
