"""Our own forward pass over BLIP's text decoder: a tree of prefixes per image, each prefix computed once.

The cross-attention keys and values of an image are computed once. All prefixes of the image are queries over that one
cache. A prefix that several candidates share is one row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import scaled_dot_product_attention

from laion_coco_assets.captioning.attention import attend


@dataclass(frozen=True)
class ImageStates:
    """Cross-attention keys and values, [layers, 2, images, heads, patches, dim]."""

    cache: torch.Tensor

    def __len__(self) -> int:
        """How many images."""
        return self.cache.shape[2]

    def select(self, images: NDArray[np.int64]) -> "ImageStates":
        """The states of some of the images."""
        return ImageStates(self.cache.index_select(2, torch.from_numpy(images).to(self.cache.device)))


@dataclass(frozen=True)
class Prefixes:
    """The distinct prefixes that are being continued. Those of one image are adjacent.

    Shapes: tokens int64 [rows, length], prompt included; cache [layers, 2, rows, heads, length, dim], self-attention
    keys and values; images int64 [rows], ascending, the index into `states` that each row belongs to.
    """

    tokens: torch.Tensor
    cache: torch.Tensor
    images: NDArray[np.int64]
    states: ImageStates


class BlipDecoder:
    """Runs the text decoder of a `BlipForConditionalGeneration` (eval mode) through its own modules."""

    def __init__(self, model: Any) -> None:
        self._bert = model.text_decoder.bert
        self._head = model.text_decoder.cls
        self._layers = list(self._bert.encoder.layer)
        attention = self._layers[0].attention.self
        self._heads: int = attention.num_attention_heads
        self._dim: int = attention.attention_head_size

    def look(self, hidden: torch.Tensor) -> ImageStates:
        """Compute the keys and values of images. `hidden`: [images, patches, vision hidden], from `encode_images`."""
        images, patches, _ = hidden.shape
        cache = hidden.new_empty(len(self._layers), 2, images, self._heads, patches, self._dim)
        for place, layer in zip(cache, self._layers, strict=True):
            place[0] = self._split(layer.crossattention.self.key(hidden))
            place[1] = self._split(layer.crossattention.self.value(hidden))
        return ImageStates(cache)

    def start(self, states: ImageStates, prompt: list[int]) -> tuple[torch.Tensor, Prefixes]:
        """Run the prompt once per image, in one pass.

        Returns:
            The logits after the prompt, [images, vocab], and one row per image.
        """
        images, length = len(states), len(prompt)
        tokens = torch.tensor(prompt, device=states.cache.device).repeat(images, 1)
        cache = states.cache.new_empty(len(self._layers), 2, images, self._heads, length, self._dim)
        hidden = self._embed(tokens, torch.arange(length, device=tokens.device).unsqueeze(0))
        for layer, own, (keys, values) in zip(self._layers, cache, states.cache, strict=True):
            queries = self._split(layer.attention.self.query(hidden))
            own[0] = self._split(layer.attention.self.key(hidden))
            own[1] = self._split(layer.attention.self.value(hidden))
            context = scaled_dot_product_attention(queries, own[0], own[1], is_causal=True)
            hidden = layer.attention.output(_join(context), hidden)
            queries = self._split(layer.crossattention.self.query(hidden))
            context = attend(queries, keys, values)
            hidden = layer.feed_forward_chunk(layer.crossattention.output(_join(context), hidden))
        rows = np.arange(images, dtype=np.int64)
        return self._head(hidden[:, -1]), Prefixes(tokens, cache, rows, states)

    def advance(self, groups: Sequence[Prefixes]) -> torch.Tensor:
        """Run the last token of every row and add it to the caches. Groups of different lengths run together.

        Products are computed over all rows at once. Each group attends over its own cache, so no group is padded to the
        length of another.

        Args:
            groups: from `grow`.

        Returns:
            The logits after each row, [rows of all groups in order, vocab].
        """
        counts = [len(group.images) for group in groups]
        device = groups[0].cache.device
        layouts = [_RowsByImage(group.images, len(group.states), device) for group in groups]
        ends = np.repeat([group.tokens.shape[1] - 1 for group in groups], counts)
        positions = torch.from_numpy(ends).to(device).unsqueeze(1)
        hidden = self._embed(torch.cat([group.tokens[:, -1:] for group in groups]), positions)
        for number, layer in enumerate(self._layers):
            queries = torch.split(self._split(layer.attention.self.query(hidden)), counts)
            keys = torch.split(self._split(layer.attention.self.key(hidden)), counts)
            values = torch.split(self._split(layer.attention.self.value(hidden)), counts)
            contexts = []
            for group, query, key, value in zip(groups, queries, keys, values, strict=True):
                own = group.cache[number]
                own[0, :, :, -1:], own[1, :, :, -1:] = key, value
                contexts.append(_join(scaled_dot_product_attention(query, own[0], own[1])))
            hidden = layer.attention.output(torch.cat(contexts), hidden)
            queries = torch.split(layer.crossattention.self.query(hidden), counts)
            contexts = []
            for group, layout, query in zip(groups, layouts, queries, strict=True):
                seen = attend(self._split(layout.spread(query)), *group.states.cache[number])
                contexts.append(layout.gather(_join(seen)))
            hidden = layer.feed_forward_chunk(layer.crossattention.output(torch.cat(contexts), hidden))
        return self._head(hidden[:, -1])  # type: ignore[no-any-return]

    def _embed(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """[rows, length, hidden] of tokens int64 [rows, length] at positions int64 [rows or 1, length]."""
        return self._bert.embeddings(input_ids=tokens, position_ids=positions)  # type: ignore[no-any-return]

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """[rows, length, heads * dim] to [rows, heads, length, dim]."""
        return states.view(*states.shape[:-1], self._heads, self._dim).transpose(1, 2)


def _join(context: torch.Tensor) -> torch.Tensor:
    """[rows, heads, length, dim] to [rows, length, heads * dim]."""
    return context.transpose(1, 2).flatten(2)


def grow(prefixes: Prefixes, parents: NDArray[np.int64], tokens: NDArray[np.int64]) -> Prefixes:
    """Continue row `parents[i]` with `tokens[i]`; a row may have any number of children, or none and so leave.

    Images without rows are dropped once they are half of all images.

    Args:
        prefixes: from `BlipDecoder.start`, or from an earlier call after `BlipDecoder.advance`.
        parents: [children], ascending.
        tokens: [children].

    Returns:
        The children as rows, with room in the cache for their last token.
    """
    device = prefixes.cache.device
    chosen = torch.from_numpy(parents).to(device)
    last = torch.from_numpy(tokens).to(device)
    layers, both, _, heads, length, dim = prefixes.cache.shape
    cache = prefixes.cache.new_empty(layers, both, len(parents), heads, length + 1, dim)
    cache[..., :-1, :] = prefixes.cache.index_select(2, chosen)
    images, states = prefixes.images[parents], prefixes.states
    remaining, places = np.unique(images, return_inverse=True)
    if 2 * len(remaining) <= len(states):  # only at half: so each image's states are copied once on average
        images, states = places.astype(np.int64), states.select(remaining)
    history = torch.cat([prefixes.tokens.index_select(0, chosen), last.unsqueeze(1)], dim=1)
    return Prefixes(history, cache, images, states)


class _RowsByImage:
    """Arranges rows of one token as queries per image, padded to the image with most rows."""

    def __init__(self, images: NDArray[np.int64], count: int, device: torch.device) -> None:
        first = np.searchsorted(images, np.arange(count))
        self._shape = (count, int(np.bincount(images).max()))
        slots = images * self._shape[1] + np.arange(len(images)) - first[images]
        self._slots = torch.from_numpy(slots).to(device)

    def spread(self, rows: torch.Tensor) -> torch.Tensor:
        """[rows, 1, width] to [images, most, width]."""
        padded = rows.new_zeros(self._shape[0] * self._shape[1], rows.shape[-1])
        return padded.index_copy_(0, self._slots, rows.squeeze(1)).view(*self._shape, -1)

    def gather(self, queries: torch.Tensor) -> torch.Tensor:
        """[images, most, width] back to [rows, 1, width]."""
        return queries.flatten(0, 1).index_select(0, self._slots).unsqueeze(1)
