"""What became of one URL or image: the type of every result of a fetcher."""

from dataclasses import dataclass

from laion_coco_assets.contract.reasons import Reason


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image with its description, or a reason why there is none.

    `http_status` and `final_url` (after redirects) are those of the last answer, None if none came.

    Attributes:
        reason: None for an image.
        detail: what exactly was wrong, for people; None for an image.
        sha256: of `image`, in hex.
        image_width: pixels after EXIF orientation, as is `image_height`.
        perceptual_hash: None unless the settings ask for it.
        duplicate_of: the number of the row that had the URL first, for `duplicate_url`.
        image: the bytes as they were served.
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
