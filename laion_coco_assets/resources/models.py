"""The models on a device, as Dagster injects them. Importing this module does not import torch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from laion_coco_assets.contract.profile import CaptionSettings, RankerSource

if TYPE_CHECKING:
    from laion_coco_assets.captioning.sampler import Captioner
    from laion_coco_assets.captioning.scorer import Scorer


class ModelsResource(dg.ConfigurableResource["ModelsResource"]):
    """BLIP and CLIP on a device. A model is loaded at its first use and stays for the life of the process."""

    device: str = Field(default="auto", description="auto (CUDA, MPS, CPU in this order), cuda, cuda:1, mps, cpu.")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16 or float16.")
    images_at_once: int = Field(
        default=0, description="Images that go through a model together; 0 picks itself from the device's free memory."
    )

    @property
    def batch_size(self) -> int:
        """How many images to hand to a model at a time: as many as may go through it together.

        It takes fewer at once where memory does not suffice, and again fewer when it runs out.
        """
        from laion_coco_assets.captioning.batching import most_at_once
        from laion_coco_assets.captioning.device import resolve_device

        return self.images_at_once or most_at_once(resolve_device(self.device))

    def captioner(self, settings: CaptionSettings) -> Captioner:
        """BLIP with its sampling settings; raises ModelUnavailableError or DeviceError."""
        return _captioner(settings, self.device, self.dtype, self.images_at_once)

    def scorer(self, source: RankerSource, setting: str) -> Scorer:
        """A CLIP; raises ModelUnavailableError, which names `setting`, the profile's key of a local copy, or DeviceError."""
        return _scorer(source, setting, self.device, self.dtype, self.images_at_once)

    def where(self) -> str:
        """Device and dtype as they come out here, for the record: `NVIDIA H200 bfloat16`."""
        from laion_coco_assets.captioning.device import in_words, resolve_device, resolve_dtype

        device = resolve_device(self.device)
        return in_words(device, resolve_dtype(self.dtype, device))


# One process runs many steps and, in bulk runs and at the terminal, many shards: their models are the same ones.
@lru_cache(maxsize=2)
def _captioner(settings: CaptionSettings, device: str, dtype: str, batch_size: int) -> Captioner:
    from laion_coco_assets.captioning.device import resolve_device, resolve_dtype
    from laion_coco_assets.captioning.loading import load_blip
    from laion_coco_assets.captioning.sampler import Captioner

    on = resolve_device(device)
    return Captioner(load_blip(settings.model, on, resolve_dtype(dtype, on)), settings, batch_size)


@lru_cache(maxsize=4)
def _scorer(source: RankerSource, setting: str, device: str, dtype: str, batch_size: int) -> Scorer:
    from laion_coco_assets.captioning.device import resolve_device, resolve_dtype
    from laion_coco_assets.captioning.loading import load_clip
    from laion_coco_assets.captioning.scorer import Scorer

    on = resolve_device(device)
    return Scorer(load_clip(source, on, resolve_dtype(dtype, on), setting), batch_size)
