"""The captioner and the rankers on a device, as Dagster injects them. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import dagster as dg
from pydantic import Field

from laion_coco_assets.captioning.interfaces import Captioner, Ranker
from laion_coco_assets.contract.extensions import load_object
from laion_coco_assets.contract.profile import CaptionerSource, CaptionSettings, RankerSource
from laion_coco_assets.errors import ModelUnavailableError, ProfileError, UserError, may_pass_by_itself

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

#: The classes that run if the profile names no `type`.
_BLIP: Final = "laion_coco_assets.captioning.blip_captioner:BlipCaptioner"
_CLIP: Final = "laion_coco_assets.captioning.clip_ranker:ClipRanker"


class ModelsResource(dg.ConfigurableResource["ModelsResource"]):
    """Captioner and rankers on a device. A model is loaded at its first use and stays for the life of the process."""

    device: str = Field(default="auto", description="auto (CUDA, MPS, CPU in this order), cuda, cuda:1, mps, cpu.")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16 or float16.")
    images_at_once: int = Field(
        default=0, description="Images that go through a model together; 0: as many as the device's free memory allows."
    )

    @property
    def batch_size(self) -> int:
        """How many images to hand to a model at a time: as many as may go through it together.

        The model takes fewer at once if memory does not suffice, and fewer again when it runs out.
        """
        from laion_coco_assets.captioning.batching import most_at_once
        from laion_coco_assets.captioning.device import resolve_device

        return self.images_at_once or most_at_once(resolve_device(self.device))

    def captioner(self, settings: CaptionSettings) -> Captioner:
        """The captioner of a profile.

        Raises:
            ProfileError: the class of the profile's `type` cannot be loaded, or is not a captioner.
            ModelUnavailableError: its weights are not available.
            DeviceError: this machine has no such device or dtype.
        """
        return _captioner(settings, self.device, self.dtype, self.images_at_once)

    def ranker(self, source: RankerSource, setting: str) -> Ranker:
        """A ranker of a profile; raises the same errors. `setting` is the section's name: rank.model or final.model."""
        return _ranker(source, setting, self.device, self.dtype, self.images_at_once)

    def where(self) -> str:
        """Device and dtype that are used here, for the record: `NVIDIA H200 bfloat16`."""
        from laion_coco_assets.captioning.device import in_words, resolve_device, resolve_dtype

        device = resolve_device(self.device)
        return in_words(device, resolve_dtype(self.dtype, device))


# One process runs many steps and, in bulk runs and at the terminal, many shards. They share their models.
@lru_cache(maxsize=2)
def _captioner(settings: CaptionSettings, device: str, dtype: str, batch_size: int) -> Captioner:
    def load(kind: Any) -> Captioner:
        captioner: Captioner = kind.load(settings, *_on(device, dtype), batch_size)
        return captioner

    return _loaded(settings.model, "caption.model", _BLIP, Captioner, load)


@lru_cache(maxsize=4)
def _ranker(source: RankerSource, setting: str, device: str, dtype: str, batch_size: int) -> Ranker:
    def load(kind: Any) -> Ranker:
        ranker: Ranker = kind.load(source, setting, *_on(device, dtype), batch_size)
        return ranker

    return _loaded(source, setting, _CLIP, Ranker, load)


def _on(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    from laion_coco_assets.captioning.device import resolve_device, resolve_dtype

    on = resolve_device(device)
    return on, resolve_dtype(dtype, on)


def _loaded(
    source: CaptionerSource | RankerSource, setting: str, built_in: str, role: type, load: Callable[[Any], T]
) -> T:
    """The model that `load` makes from the class that the profile names, or from the built-in one.

    Raises:
        ProfileError: the class cannot be loaded, or lacks what `role`, a Protocol, asks for.
        ModelUnavailableError: `load` failed with an error of the class itself.
    """
    kind = load_object(source.type or built_in, f"{setting}.type")
    _complete(kind, source, setting, role, _methods(role))
    try:
        model = load(kind)
    except UserError:
        raise
    except Exception as error:
        from laion_coco_assets.captioning.batching import is_out_of_memory

        passes = isinstance(error, OSError) and may_pass_by_itself(error)
        if not source.type or passes or is_out_of_memory(error):
            raise  # a mistake of this package, or a failure that a retry may mend
        raise ModelUnavailableError(
            f"{setting}: {source.type} could not be built ({type(error).__name__}: {error})"
        ) from error
    _complete(model, source, setting, role, _members(role))
    return model


def _complete(
    model: Any, source: CaptionerSource | RankerSource, setting: str, role: type, members: frozenset[str]
) -> None:
    """Raise ProfileError if a class or an object lacks one of these members, or leaves an abstract method open."""
    abstract: frozenset[str] = getattr(model, "__abstractmethods__", frozenset())
    missing = {name for name in members if getattr(model, name, None) is None} | abstract
    if missing:
        raise ProfileError(
            f"{setting}.type: {source.type!r} is not a {role.__name__.lower()}: it lacks {', '.join(sorted(missing))}; "
            f"laion_coco_assets.captioning.interfaces.{role.__name__} describes what it needs"
        )


def _members(role: type) -> frozenset[str]:
    """What a Protocol asks for, its bases' included."""
    return frozenset(
        name for base in role.__mro__ if base.__module__ == role.__module__ for name in vars(base) if name[0] != "_"
    )


def _methods(role: type) -> frozenset[str]:
    """The members that the class itself must have. Attributes may be set on its objects."""
    return frozenset(name for name in _members(role) if not isinstance(getattr(role, name), property))
