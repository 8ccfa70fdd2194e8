"""Captions decided beforehand, so that random weights write as many, as long and as alike ones as real weights do.

Random weights spread their probability over the vocabulary: 40 draws are 40 captions, of any length. Here the outcome of
each draw is replaced, after all the work of sampling has been done, by the next token of a script: the same one for the
engine and for both baselines. Before, the script's next tokens are made likely, as a real model's are: what sampling
costs depends on that where it looks at the likeliest tokens only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

Tokens = tuple[int, ...]
#: Added to the scripted tokens' logits, of which random weights make some within 5 of zero.
_RAISE: Final = 20.0
#: The original's min length: a shorter caption would be refused its end by the plain pipeline.
_SHORTEST: Final = 5
#: Distinct captions an image over the mean, image by image, so that any few images are about the mean.
_AROUND = (0, -2, 2, -3, 3, -1, 1, 0)


@dataclass(frozen=True)
class Script:
    """What every candidate writes. `captions[sample_id][candidate]` are its tokens after the prompt, end not included."""

    captions: dict[str, tuple[Tokens, ...]]
    end_token: int

    def table(self, sample_ids: Sequence[str], steps: int) -> NDArray[np.int64]:
        """The token each candidate draws at each step, the end behind its last: int64 [images, candidates, steps]."""
        candidates = len(self.captions[sample_ids[0]])
        table = np.full((len(sample_ids), candidates, steps), self.end_token, dtype=np.int64)
        for image, sample_id in enumerate(sample_ids):
            for candidate, tokens in enumerate(self.captions[sample_id]):
                table[image, candidate, : len(tokens)] = tokens[:steps]
        return table

    @staticmethod
    def expect(logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [rows, vocab] with `tokens[i]` of `rows[i]` (int64, both; no pair twice) raised."""
        raised = torch.full_like(tokens, _RAISE, dtype=logits.dtype)
        return logits.index_put((rows, tokens), raised, accumulate=True)

    @property
    def mean_tokens(self) -> float:
        """Of a candidate."""
        return float(np.mean([len(tokens) for own in self.captions.values() for tokens in own]))

    @property
    def mean_distinct(self) -> float:
        """Captions of an image."""
        return float(np.mean([len(set(own)) for own in self.captions.values()]))

    @property
    def mean_prefixes(self) -> float:
        """Distinct prefixes of an image: what a sampler that shares them has to compute."""
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
    seed: int = 0,
) -> Script:
    """Draw captions as a nucleus of 0.24 leaves them: few, sharing prefixes, some drawn by many candidates.

    An image's first caption is of random words; each further one leaves an earlier one at a place drawn uniformly and
    goes on in words of its own. Lengths are uniform within three of the mean. Each caption is drawn by one candidate at
    least, the rest fall to captions with weights 1, 1/2, 1/3, … (Zipf), in random order.
    """
    generator = np.random.default_rng(seed)
    captions: dict[str, tuple[Tokens, ...]] = {}
    for number, sample_id in enumerate(sample_ids):
        count = min(candidates, max(1, mean_distinct + _AROUND[number % len(_AROUND)]))
        distinct: list[Tokens] = []
        while len(distinct) < count:
            length = int(generator.integers(max(_SHORTEST, mean_tokens - 3), max(_SHORTEST, mean_tokens + 3) + 1))
            older = distinct[int(generator.integers(len(distinct)))] if distinct else ()
            kept = int(generator.integers(min(len(older), length))) if older else 0
            caption = (*older[:kept], *(int(each) for each in generator.choice(words, length - kept)))
            if caption not in distinct:
                distinct.append(caption)
        weights = 1 / np.arange(1, count + 1)
        rest = generator.choice(count, candidates - count, p=weights / weights.sum())
        chosen = generator.permutation(np.concatenate([np.arange(count), rest]))
        captions[sample_id] = tuple(distinct[each] for each in chosen)
    return Script(captions, end_token)
