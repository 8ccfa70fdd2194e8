"""CLIP as a ranker: cosine similarities of images and texts."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.ahead import ahead
from laion_coco_assets.captioning.attention import use_own_attention
from laion_coco_assets.captioning.batching import Batches
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.image_tower import bytes_an_image, speed_up
from laion_coco_assets.captioning.interfaces import Ranker
from laion_coco_assets.captioning.loading import Clip, load_clip
from laion_coco_assets.captioning.preparing import for_device, threads_for, to_device
from laion_coco_assets.captioning.text_tower import bytes_a_text, encode_texts
from laion_coco_assets.contract.profile import RankerSource


class ClipRanker(Ranker):
    """Scores texts against images.

    A pair's score is a function of the pair and the model. What is scored in the same batch changes at most its last
    bits, because matrix products round differently for different numbers of rows.

    Example:
        >>> ranker = ClipRanker.load(profile.rank.model, "rank.model", device, dtype, batch_size=0)
        >>> ranker.score_images([image], [["a red ball", "a blue cube"]])[0]
        array([0.27, 0.18])
    """

    def __init__(
        self,
        clip: Clip,
        image_batch_size: int = 0,
        text_batch_size: int = 0,
        clock: Clock = NO_CLOCK,
        name: str = "clip",
    ) -> None:
        """Take over a model. Its attention is replaced; in a convolutional image tower, batch norms are folded away.

        Args:
            clip: the model.
            image_batch_size: images per batch; it does not affect the result. 0 chooses it from the device's free memory.
            text_batch_size: texts per batch, likewise.
            clock: times the stages `<name>_preprocessing`, `<name>_image` and `<name>_text`.
            name: the name of this model in those stages.
        """
        self._clip = clip
        self._clock, self._name = clock, name
        use_own_attention(clip.model)
        self._layout = speed_up(clip.model)
        self._images = Batches(image_batch_size, clip.device, bytes_an_image(clip.model, clip.dtype))
        self._texts = Batches(text_batch_size, clip.device, bytes_a_text(clip.model, clip.dtype), ceiling_factor=16)

    @classmethod
    def load(
        cls, source: RankerSource, setting: str, device: torch.device, dtype: torch.dtype, batch_size: int
    ) -> Self:
        """See `Ranker`.

        Raises:
            ModelUnavailableError: the weights are not available, are damaged, or belong to another model.
        """
        return cls(load_clip(source, device, dtype, f"{setting}.path"), batch_size)

    @property
    def revision(self) -> str:
        """The revision of the loaded model."""
        return self._clip.revision

    @property
    def threads(self) -> int:
        """How many threads call `prepare`: enough to keep up with the device, without taking CPU time from it."""
        return threads_for(self._clip.device)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """The model's input for an image of any mode and size: float32 [3, height, width]. Safe to call in threads."""
        return for_device(self._clip.preprocess(image), self._clip.device)

    def score_images(self, images: Sequence[Image.Image], texts: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """Like `score`, but takes images; float64 [len(texts[i])] per image. An image without texts is not prepared."""
        _check_lengths(images, texts)
        with_texts = [image for image, own in zip(images, texts, strict=True) if own]
        with closing(ahead(with_texts, self.prepare, threads=self.threads, window=self._images.size)) as pixels:
            return self._score(pixels, texts)

    def score(self, prepared: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """Cosine similarities of `texts[i]` with the image of `prepared[i]`, one per text.

        Each image and each distinct text is encoded once. Texts longer than the model's context are truncated as
        open_clip's tokenizer does. An image without texts is not encoded.

        Args:
            prepared: the result of `prepare` for each image.
            texts: the texts of each image.
        """
        _check_lengths(prepared, texts)
        pixels = (own_pixels for own_pixels, own in zip(prepared, texts, strict=True) if own)
        return [own.tolist() for own in self._score(pixels, texts)]

    def _score(self, pixels: Iterable[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """`pixels` holds one entry for each image that has texts."""
        image_rows = iter(self._embed_images(pixels))
        distinct = list(dict.fromkeys(text for own in texts for text in own))
        places = {text: place for place, text in enumerate(distinct)}
        text_rows = self.embed_texts(distinct)
        return [
            (text_rows[[places[text] for text in own]] * next(image_rows)).sum(axis=1)
            if own
            else np.empty(0, dtype=np.float64)
            for own in texts
        ]

    def _embed_images(self, pixels: Iterable[torch.Tensor]) -> NDArray[np.float64]:
        """Unit vectors, float64 [images, width]."""
        rest, rows = iter(pixels), list[torch.Tensor]()
        while True:
            with self._clock.stage(f"{self._name}_preprocessing"):
                batch = list(islice(rest, self._images.size))
            if not batch:
                return _unit(rows)
            rows += self._images.run(batch, self._embed_batch)

    @torch.inference_mode()
    def _embed_batch(self, batch: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        clip = self._clip
        with self._clock.stage(f"{self._name}_preprocessing"):
            pixels = to_device(batch, clip.device, clip.dtype)
        with self._clock.stage(f"{self._name}_image"):
            return clip.model.encode_image(pixels.contiguous(memory_format=self._layout)).float().cpu().unbind()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Unit vectors, float64 [texts, width]."""
        if not texts:
            return _unit([])
        with self._clock.stage(f"{self._name}_text"):
            tokens = self._clip.tokenizer(list(texts)).to(self._clip.device)
            return _unit(encode_texts(self._clip.model, tokens, self._texts))


def _check_lengths(images: Sequence[object], texts: Sequence[object]) -> None:
    if len(images) != len(texts):
        raise ValueError(f"{len(images)} images, but texts for {len(texts)}")


def _unit(rows: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    """Scale rows (float32 [width] on the host) to length one in float64, as `torch.nn.functional.normalize` does."""
    if not rows:
        return np.empty((0, 0), dtype=np.float64)
    table = torch.stack(list(rows)).double().numpy()
    return np.asarray(table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12))
