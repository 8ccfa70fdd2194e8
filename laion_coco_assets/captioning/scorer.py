"""Cosine similarities of images and texts in a CLIP's space."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.ahead import ahead
from laion_coco_assets.captioning.attention import use_own_attention
from laion_coco_assets.captioning.batching import Batches
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.image_tower import bytes_an_image, speed_up
from laion_coco_assets.captioning.loading import Clip
from laion_coco_assets.captioning.preparing import for_device, threads_for, to_device
from laion_coco_assets.captioning.text_tower import bytes_a_text, encode_texts


class Scorer:
    """Scores texts against images.

    A pair's score is a function of the pair and the model; what else is scored with it changes no more than its last
    bits (matrix products round differently for different numbers of rows).

    Example:
        >>> scorer = Scorer(load_clip(profile.rank.model, device, dtype))
        >>> scorer.score([image], [["a red ball", "a blue cube"]])[0]
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
        """Take over a model: its attention is exchanged, a convolutional image tower's batch norms are folded away.

        Args:
            clip: the model.
            image_batch_size: images at once, no part of the result; 0 picks itself from the device's free memory.
            text_batch_size: likewise texts.
            clock: told of the stages `<name>_preprocessing`, `<name>_image` and `<name>_text`.
            name: what to call this model there.
        """
        self._clip = clip
        self._clock, self._name = clock, name
        use_own_attention(clip.model)
        self._layout = speed_up(clip.model)
        self._images = Batches(image_batch_size, clip.device, bytes_an_image(clip.model, clip.dtype))
        self._texts = Batches(text_batch_size, clip.device, bytes_a_text(clip.model, clip.dtype), ceiling_factor=16)

    @property
    def revision(self) -> str:
        """Of the model that was loaded."""
        return self._clip.revision

    @property
    def backed_off(self) -> int:
        """How often memory ran out, and fewer went together from then on."""
        return self._images.backed_off + self._texts.backed_off

    @property
    def threads(self) -> int:
        """Of `prepare` at once, so that it keeps up with the device and takes nothing from it."""
        return threads_for(self._clip.device)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """The model's input from an image of any mode and size: float32 [3, height, width]. May be called in threads."""
        return for_device(self._clip.preprocess(image), self._clip.device)

    def score(self, images: Sequence[Image.Image], texts: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """`score_prepared` of images as they are; one without texts is not even prepared."""
        _check_lengths(images, texts)
        asked = [image for image, own in zip(images, texts, strict=True) if own]
        with closing(ahead(asked, self.prepare, threads=self.threads, window=self._images.size)) as pixels:
            return self._score(pixels, texts)

    def score_prepared(
        self, pixels: Sequence[torch.Tensor], texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Cosine similarities of `texts[i]` with the image of `pixels[i]`, float64 [len(texts[i])] each.

        Each image and each distinct text is encoded once. Texts longer than the model's context are truncated as
        open_clip's tokenizer does. An image without texts is not encoded.

        Args:
            pixels: what `prepare` made of each image.
            texts: each image's.
        """
        _check_lengths(pixels, texts)
        return self._score((own_pixels for own_pixels, own in zip(pixels, texts, strict=True) if own), texts)

    def _score(self, pixels: Iterable[torch.Tensor], texts: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """`pixels` are those of the images that have texts."""
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
    """Rows (float32 [width] on the host) made of length one in float64, as `torch.nn.functional.normalize` has it."""
    if not rows:
        return np.empty((0, 0), dtype=np.float64)
    table = torch.stack(list(rows)).double().numpy()
    return np.asarray(table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12))
