"""What a fetched URL puts into its row of FETCHED_IMAGES."""

from typing import TYPE_CHECKING

from laion_coco_assets.shards.joining import Row

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetched


def fetched_columns(result: "Fetched") -> Row:
    """The columns that the source does not have."""
    return {
        "status": "ok" if result.reason is None else "rejected",
        "reason": None if result.reason is None else result.reason.value,
        "detail": result.detail,
        "http_status": result.http_status,
        "final_url": result.final_url,
        "sha256": result.sha256,
        "format": result.format,
        "image_width": result.image_width,
        "image_height": result.image_height,
        "image_bytes": None if result.image is None else len(result.image),
        "image": result.image,
    }
