"""The interfaces of captioners and rankers. The stages use nothing else of them. This module does not import torch.

A profile names a class of another package by `type` (`[caption.model]`, `[rank.model]`, `[final.model]`). It need not inherit
from these; `simple.py` has base classes for models that take one image at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from laion_coco_assets.contract.profile import CaptionSettings, RankerSource


@dataclass(frozen=True)
class Candidates:
    """An image's distinct captions, in the order in which they were first drawn.

    The three are parallel: `multiplicities[i]` of the draws gave `captions[i]`, which has `token_counts[i]` tokens after
    the prompt, without the end. Draws without text are left out.
    """

    captions: tuple[str, ...]
    multiplicities: tuple[int, ...]
    token_counts: tuple[int, ...]


class ImageModel(Protocol):
    """What captioners and rankers have in common: they prepare an image before they work on it."""

    @property
    @abstractmethod
    def revision(self) -> str:
        """Names the loaded weights or code, for the records. Not empty."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """How many threads may call `prepare` at once."""

    @abstractmethod
    def prepare(self, image: Image.Image) -> Any:
        """The model's own input for an RGB image of any size; never None. Called in threads, ahead of the model."""


class Captioner(ImageModel, Protocol):
    """Writes an image's candidates. They must depend only on the image, its sample_id and the settings."""

    @classmethod
    @abstractmethod
    def load(cls, settings: CaptionSettings, device: torch.device, dtype: torch.dtype, batch_size: int) -> Self:
        """Build it.

        Args:
            settings: the profile's section `caption`; `settings.model.options` is the class's own.
            device: where to run.
            dtype: what to compute in.
            batch_size: images per batch; it must not affect the result. 0 leaves the choice to the class.

        Raises:
            UserError: the settings are wrong, or the model is not available. Its message is shown unchanged.
        """

    @abstractmethod
    def stream(self, samples: Iterable[tuple[str, Any]]) -> Iterator[list[Candidates]]:
        """Yield the candidates of the samples, in order, as lists of any length.

        Args:
            samples: pairs of sample_id and the result of `prepare`. Read them as the model needs them.
        """


class Ranker(ImageModel, Protocol):
    """Scores how well texts fit an image. A score must depend only on the image, the text and the settings."""

    @classmethod
    @abstractmethod
    def load(
        cls, source: RankerSource, setting: str, device: torch.device, dtype: torch.dtype, batch_size: int
    ) -> Self:
        """Build it, like `Captioner.load`.

        Args:
            source: the profile's section `rank.model` or `final.model`; `source.options` is the class's own.
            setting: that section's name, for error messages.
            device: where to run.
            dtype: what to compute in.
            batch_size: images per batch; it must not affect the result. 0 leaves the choice to the class.
        """

    @abstractmethod
    def score(self, prepared: Sequence[Any], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """How well `texts[i]` fit the image of `prepared[i]`: for each image, a list of numbers from -1 to 1.

        Args:
            prepared: the result of `prepare` for each image.
            texts: the texts of each image; an image may have none.
        """
