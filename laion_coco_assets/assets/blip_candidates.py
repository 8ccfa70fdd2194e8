"""Stage 2: the captioner writes the profile's number of captions for every image."""

from collections import deque
from collections.abc import Container, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from laion_coco_assets.contract.columns import Column
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.shared_columns import INTS, ROW, SAMPLE_ID, STRING, STRINGS
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.stages.images import OkImage, ok_image_rows, ok_images
from laion_coco_assets.stages.model_stage import ModelStage
from laion_coco_assets.stages.panels import Panel
from laion_coco_assets.stages.stage import Rows, RowsOf, StageRun
from laion_coco_assets.store.store import ShardStore

if TYPE_CHECKING:
    import torch

    from laion_coco_assets.captioning.interfaces import Candidates, Captioner


class BlipCandidates(ModelStage):
    """The captions that the captioner sampled for each image.

    Distinct captions are in sampling order, with the number of times that each was drawn.

    A sample's captions depend only on its image, the profile and its seed. Random numbers are keyed by seed, sample,
    candidate and step, so batches, order and restarts make no difference.
    """

    name = StageName.BLIP_CANDIDATES.value
    section = "caption"
    reads = (StageName.FETCHED_IMAGES,)
    rows_of = RowsOf(StageName.FETCHED_IMAGES, "status = 'ok'", "ok image")
    reasons = ("no_caption", "decode_error")
    columns = (
        ROW,
        SAMPLE_ID,
        Column("captions", STRINGS, "the distinct captions that were sampled, in sampling order", nullable=False),
        Column("multiplicities", INTS, "how many of the draws gave this caption, same order", nullable=False),
        Column("token_counts", INTS, "tokens after the prompt, without the end token, same order", nullable=False),
        Column("reason", STRING, "`no_caption`: every draw was empty; `decode_error`: unreadable; else null"),
    )
    figures: ClassVar[Mapping[str, str]] = {
        "distinct_captions_mean": "avg(len(captions))",
        "caption_tokens_mean": "avg(list_avg(token_counts))",
        "captions_drawn": "coalesce(sum(list_sum(multiplicities)), 0)",
    }

    @classmethod
    def panels(cls, _profile: Profile) -> tuple[Panel, ...]:
        """See `Stage`."""
        return (
            Panel("Tokens per caption", 1, {"captions": "token_counts"}),
            Panel("Distinct captions per image", 1, {"images": "[len(captions)]"}),
        )

    @classmethod
    def preflight(cls, run: StageRun) -> None:
        """See `Stage`."""
        run.resources["models"].captioner(run.profile.caption)

    @property
    def captioner(self) -> "Captioner":
        """The profile's captioner. Raises UserError when it cannot be loaded."""
        return self.models.captioner(self.profile.caption)

    def row_numbers(self) -> Iterator[int]:
        """See `ModelStage`."""
        return ok_image_rows(self.store, self.shard)

    def make(self, done: int, kept: Container[int]) -> Iterator[Rows]:
        """See `ModelStage`."""
        return caption_shard(self.store, self.shard, self.captioner, self.models.batch_size, done, kept)

    def models_used(self) -> Mapping[str, Mapping[str, str]]:
        """See `ModelStage`."""
        return {"caption": {"name": self.profile.caption.model.name, "revision": self.captioner.revision}}


def caption_shard(
    store: ShardStore, shard: str, captioner: "Captioner", window: int, done: int, kept: Container[int] = frozenset()
) -> Iterator[Rows]:
    """Rows of `blip_candidates`, one per ok image in source order, without the `kept` ones and the first `done`.

    Up to `window` images are prepared ahead of the captioner.
    """
    taken: deque[tuple[OkImage, bool]] = deque()  # in order: images that the captioner has, and unreadable ones

    def readable(images: Iterator[OkImage]) -> Iterator[tuple[str, "torch.Tensor"]]:
        for image in images:
            taken.append((replace(image, pixels=None), image.pixels is not None))
            if image.pixels is not None:
                yield image.sample_id, image.pixels

    with closing(ok_images(store, shard, captioner, window=window, skip=done, without=kept)) as images:
        for drawn in captioner.stream(readable(images)):
            rows: Rows = []
            for candidates in drawn:
                rows += _unreadable(taken)
                rows.append(_row(taken.popleft()[0], candidates))
            yield rows
    yield list(_unreadable(taken))


def _unreadable(taken: "deque[tuple[OkImage, bool]]") -> Iterator[dict[str, Any]]:
    """The rows of the unreadable images at the front. Takes these images off."""
    while taken and not taken[0][1]:
        yield _row(taken.popleft()[0], None)


def _row(image: OkImage, candidates: "Candidates | None") -> dict[str, Any]:
    row = {"row": image.row, "sample_id": image.sample_id}
    if candidates is None:
        return row | {"captions": [], "multiplicities": [], "token_counts": [], "reason": "decode_error"}
    return row | {
        "captions": candidates.captions,
        "multiplicities": candidates.multiplicities,
        "token_counts": candidates.token_counts,
        "reason": None if candidates.captions else "no_caption",
    }
