"""Cosine similarities of images and texts in a CLIP's space."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.captioning.loading import Clip
from laion_coco_assets.captioning.text_tower import encode_texts


class Scorer:
    """Scores texts against images.

    A pair's score is a function of the pair and the model; what else is scored with it changes no more than its last
    bits (matrix products round differently for different numbers of rows).

    Example:
        >>> scorer = Scorer(load_clip(profile.rank.model, device, dtype))
        >>> scorer.score([image], [["a red ball", "a blue cube"]])[0]
        array([0.27, 0.18])
    """

    def __init__(self, clip: Clip, image_batch_size: int = 16, text_batch_size: int = 128) -> None:
        """Batch sizes bound the memory and are no part of the result."""
        if image_batch_size < 1 or text_batch_size < 1:
            raise ValueError(f"batch sizes are {image_batch_size} and {text_batch_size}")
        self._clip = clip
        self._image_batch_size = image_batch_size
        self._text_batch_size = text_batch_size

    @property
    def revision(self) -> str:
        """Of the model that was loaded."""
        return self._clip.revision

    def score(self, images: Sequence[Image.Image], texts: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """Cosine similarities of `texts[i]` with `images[i]`, float64 [len(texts[i])] each.

        Each image and each distinct text is encoded once. Texts longer than the model's context are truncated as
        open_clip's tokenizer does. An image without texts is not encoded.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images, but texts for {len(texts)}")
        asked = [index for index, own in enumerate(texts) if own]
        distinct = {text: None for own in texts for text in own}
        places = {text: place for place, text in enumerate(distinct)}
        image_rows = dict(zip(asked, self.embed_images([images[index] for index in asked]), strict=True))
        text_rows = self.embed_texts(list(distinct))
        return [
            (text_rows[[places[text] for text in own]] * image_rows[index]).sum(axis=1)
            if own
            else np.empty(0, dtype=np.float64)
            for index, own in enumerate(texts)
        ]

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """Unit vectors, float64 [images, width]."""
        rows = []
        for begin in range(0, len(images), self._image_batch_size):
            batch = images[begin : begin + self._image_batch_size]
            pixels = torch.stack([self._clip.preprocess(each) for each in batch])
            rows.append(self._clip.model.encode_image(pixels.to(device=self._clip.device, dtype=self._clip.dtype)))
        return _unit(rows)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Unit vectors, float64 [texts, width]."""
        if not texts:
            return _unit([])
        tokens = self._clip.tokenizer(list(texts)).to(self._clip.device)
        return _unit([encode_texts(self._clip.model, tokens, self._text_batch_size)])


def _unit(rows: list[torch.Tensor]) -> NDArray[np.float64]:
    """Rows of length one, in float64 on the host, as `torch.nn.functional.normalize` has it."""
    if not rows:
        return np.empty((0, 0), dtype=np.float64)
    table = torch.cat(rows).float().cpu().double().numpy()
    return np.asarray(table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12))
