"""Base classes for a captioner or a ranker that takes one image at a time. This module does not import torch."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Self

from laion_coco_assets.captioning.interfaces import Candidates, Captioner, Ranker
from laion_coco_assets.errors import ProfileError

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from laion_coco_assets.contract.profile import CaptionSettings, RankerSource


class _OneImageAtATime:
    """A model whose input is the image itself. Its constructor takes the profile's `options` as keyword arguments."""

    threads = 1
    #: The profile's `revision`. Change it there when the class starts to give other results.
    revision: str = ""

    def prepare(self, image: Image.Image) -> Any:
        """The image, unchanged."""
        return image

    @classmethod
    def _with_options(cls, options: Mapping[str, Any], setting: str) -> Self:
        try:
            inspect.signature(cls).bind(**options)
        except TypeError as error:
            raise ProfileError(f"{setting}.options: {cls.__name__} does not accept them: {error}") from None
        return cls(**options)


class SimpleRanker(_OneImageAtATime, Ranker):
    """A ranker in one method.

    Example:
        >>> class Brief(SimpleRanker):
        ...     def score_image(self, image, texts):
        ...         return [1 / (1 + len(text)) for text in texts]
        >>> Brief().score([image], [["a dog", "a dog on a lawn"]])
        [[0.16666666666666666, 0.0625]]
    """

    @classmethod
    def load(
        cls,
        source: RankerSource,
        setting: str,
        device: torch.device,  # noqa: ARG003  # part of the interface
        dtype: torch.dtype,  # noqa: ARG003
        batch_size: int,  # noqa: ARG003
    ) -> Self:
        """The class, called with the profile's options; raises ProfileError when they do not fit."""
        ranker = cls._with_options(source.options, setting)
        ranker.revision = source.revision
        return ranker

    def score(self, prepared: Sequence[Any], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """See `Ranker`.

        Raises:
            ValueError: `score_image` did not return one score per text.
        """
        scores = [
            [float(score) for score in self.score_image(image, own)] if own else []
            for image, own in zip(prepared, texts, strict=True)
        ]
        for own, of_image in zip(texts, scores, strict=True):
            if len(own) != len(of_image):
                raise ValueError(f"{type(self).__name__} gave {len(of_image)} scores for {len(own)} texts")
        return scores

    @abstractmethod
    def score_image(self, image: Any, texts: Sequence[str]) -> Sequence[float]:
        """How well each text fits the image: a number from -1 to 1 for each. `image` is the result of `prepare`."""


class SimpleCaptioner(_OneImageAtATime, Captioner):
    """A captioner in one method.

    Example:
        >>> class Guess(SimpleCaptioner):
        ...     def draw(self, image, count, random):
        ...         return [random.choice(["a dog", "a cat"]) for _ in range(count)]
    """

    #: The profile's section `caption`.
    settings: CaptionSettings

    @classmethod
    def load(
        cls,
        settings: CaptionSettings,
        device: torch.device,  # noqa: ARG003  # part of the interface
        dtype: torch.dtype,  # noqa: ARG003
        batch_size: int,  # noqa: ARG003
    ) -> Self:
        """The class, called with the profile's options; raises ProfileError when they do not fit."""
        captioner = cls._with_options(settings.model.options, "caption.model")
        captioner.revision, captioner.settings = settings.model.revision, settings
        return captioner

    def stream(self, samples: Iterable[tuple[str, Any]]) -> Iterator[list[Candidates]]:
        """See `Captioner`. Equal captions are merged, blank ones are left out, and words count as tokens."""
        for sample_id, image in samples:
            random = Random(f"{self.settings.seed} {sample_id}")  # noqa: S311  # sampling, not secrets
            drawn = self.draw(image, self.settings.candidates, random)
            times = Counter(caption for text in drawn if (caption := text.strip()))
            yield [Candidates(tuple(times), tuple(times.values()), tuple(len(caption.split()) for caption in times))]

    @abstractmethod
    def draw(self, image: Any, count: int, random: Random) -> Iterable[str]:
        """Return at most `count` captions, equal ones as often as they are drawn.

        `image` is the result of `prepare`. `random` is seeded with the profile's seed and the sample, so a sample's captions
        are the same in every run.
        """
