"""Scripts captions, so that random weights write captions as numerous, long and similar as real weights do.

Random weights spread their probability over the vocabulary, so 40 draws give 40 captions of any length. Here, each draw is
replaced by the next token of a script after all the work of sampling is done. The engine and both baselines follow the same
script. Before the draw, the script's next tokens are made likely, as with real weights: the cost of sampling depends on that
where only the likeliest tokens are looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from laion_coco_assets.captioning.tree import Tokens

#: Added to the scripted tokens' logits, of which random weights make some within 5 of zero.
_RAISE: Final = 20.0
#: Too large for any random number to outweigh. For pipelines that cannot replace a draw.
CERTAIN: Final = 10_000.0
#: The original's min length. The plain pipeline would not let a shorter caption end.
_SHORTEST: Final = 5
#: What is added to the mean number of distinct captions, image by image. So even a few images are close to the mean.
_AROUND = (0, -2, 2, -3, 3, -1, 1, 0)
#: An image's captions are drawn this many times. The draw nearest to the mean length is used.
_DRAWS: Final = 8


@dataclass(frozen=True)
class Script:
    """What every candidate writes: `captions[sample_id][candidate]` are its tokens after the prompt, without the end."""

    captions: dict[str, tuple[Tokens, ...]]
    end_token: int

    @cached_property
    def _places(self) -> dict[str, int]:
        return {sample_id: place for place, sample_id in enumerate(self.captions)}

    @cached_property
    def _tokens(self) -> NDArray[np.int64]:
        """int64 [images, candidates, longest + 1], with end tokens after each caption."""
        longest = max(len(tokens) for own in self.captions.values() for tokens in own)
        candidates = len(next(iter(self.captions.values())))
        table = np.full((len(self.captions), candidates, longest + 1), self.end_token, dtype=np.int64)
        for rows, own in zip(table, self.captions.values(), strict=True):
            for row, tokens in zip(rows, own, strict=True):
                row[: len(tokens)] = tokens
        return table

    def table(self, sample_ids: Sequence[str], steps: int) -> NDArray[np.int64]:
        """The token of each candidate at each step, then end tokens: int64 [images, candidates, steps]."""
        places = [self._places[sample_id] for sample_id in sample_ids]
        return self._tokens[places][:, :, np.minimum(np.arange(steps), self._tokens.shape[2] - 1)]

    def written(
        self, sample_ids: Sequence[str], images: NDArray[np.int64], candidates: NDArray[np.int64], step: int
    ) -> NDArray[np.int64]:
        """The token of `candidates[i]` of `sample_ids[images[i]]` at a step: int64, one for each i."""
        places = np.array([self._places[sample_id] for sample_id in sample_ids])
        written: NDArray[np.int64] = self._tokens[places[images], candidates, min(step, self._tokens.shape[2] - 1)]
        return written

    @staticmethod
    def expect(logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor, by: float = _RAISE) -> torch.Tensor:
        """Raise the logit of `tokens[i]` in `rows[i]` (both int64) in logits [rows, vocab], in place. Pairs may repeat."""
        return logits.index_put_((rows, tokens), logits[rows, tokens] + by)

    @property
    def mean_tokens(self) -> float:
        """Mean tokens per candidate."""
        return float(np.mean([len(tokens) for own in self.captions.values() for tokens in own]))

    @property
    def mean_distinct(self) -> float:
        """Mean distinct captions per image."""
        return float(np.mean([len(set(own)) for own in self.captions.values()]))

    @property
    def mean_prefixes(self) -> float:
        """Mean distinct prefixes per image: what a sampler that shares prefixes must compute."""
        return float(
            np.mean(
                [
                    len({tokens[:length] for tokens in own for length in range(1, len(tokens) + 1)})
                    for own in self.captions.values()
                ]
            )
        )


def draw_script(
    sample_ids: Sequence[str],
    words: Sequence[int],
    end_token: int,
    *,
    candidates: int = 40,
    mean_tokens: int = 11,
    mean_distinct: int = 10,
) -> Script:
    """Draw captions like those of a nucleus of 0.24: few, with shared prefixes, some drawn by many candidates.

    An image's first caption has random words. Each further caption copies the start of an earlier one, up to a uniformly
    drawn place, and continues with random words. Lengths are uniform within three of the mean. Each caption is drawn by at
    least one candidate; the other candidates get captions with weights 1, 1/2, 1/3, … (Zipf), in random order. Of several
    such draws, an image gets the one whose candidates are nearest to the mean length. So a pipeline with few images writes
    captions as long as one with many.
    """
    generator = np.random.default_rng(0)
    vocabulary = np.asarray(words)
    shortest, longest = (max(_SHORTEST, mean_tokens + change) for change in (-3, 3))

    def draw(count: int) -> tuple[Tokens, ...]:
        distinct: list[Tokens] = []
        while len(distinct) < count:
            length = int(generator.integers(shortest, longest + 1))
            older = distinct[int(generator.integers(len(distinct)))] if distinct else ()
            kept = int(generator.integers(min(len(older), length))) if older else 0
            caption = (*older[:kept], *generator.choice(vocabulary, length - kept).tolist())
            if caption not in distinct:
                distinct.append(caption)
        weights = 1 / np.arange(1, count + 1)
        rest = generator.choice(count, candidates - count, p=weights / weights.sum())
        chosen = generator.permutation(np.concatenate([np.arange(count), rest]))
        return tuple(distinct[number] for number in chosen)

    def distance_to_mean(own: tuple[Tokens, ...]) -> float:
        return abs(float(np.mean([len(tokens) for tokens in own])) - (shortest + longest) / 2)

    captions = {}
    for number, sample_id in enumerate(sample_ids):
        count = min(candidates, max(1, mean_distinct + _AROUND[number % len(_AROUND)]))
        captions[sample_id] = min((draw(count) for _ in range(_DRAWS)), key=distance_to_mean)
    return Script(captions, end_token)
