"""Captions decided beforehand, so that random weights write as many, as long and as alike ones as real weights do.

Random weights spread their probability over the vocabulary: 40 draws are 40 captions, of any length. Here the outcome of
each draw is replaced, after all the work of sampling has been done, by the next token of a script: the same one for the
engine and for both baselines. Before, the script's next tokens are made likely, as a real model's are: what sampling
costs depends on that where it looks at the likeliest tokens only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

Tokens = tuple[int, ...]
#: Added to the scripted tokens' logits, of which random weights make some within 5 of zero.
_RAISE: Final = 20.0
#: Beyond what random numbers can do, for who can not replace the outcome.
CERTAIN: Final = 10_000.0
#: The original's min length: a shorter caption would be refused its end by the plain pipeline.
_SHORTEST: Final = 5
#: Distinct captions an image over the mean, image by image, so that any few images are about the mean.
_AROUND = (0, -2, 2, -3, 3, -1, 1, 0)
#: An image is drawn so often, and the draw whose candidates are nearest to the mean length is taken.
_DRAWS: Final = 8


@dataclass(frozen=True)
class Script:
    """What every candidate writes. `captions[sample_id][candidate]` are its tokens after the prompt, end not included."""

    captions: dict[str, tuple[Tokens, ...]]
    end_token: int

    @cached_property
    def _places(self) -> dict[str, int]:
        return {sample_id: place for place, sample_id in enumerate(self.captions)}

    @cached_property
    def _tokens(self) -> NDArray[np.int64]:
        """[images, candidates, longest + 1], the end behind each caption."""
        longest = max(len(tokens) for own in self.captions.values() for tokens in own)
        candidates = len(next(iter(self.captions.values())))
        table = np.full((len(self.captions), candidates, longest + 1), self.end_token, dtype=np.int64)
        for rows, own in zip(table, self.captions.values(), strict=True):
            for row, tokens in zip(rows, own, strict=True):
                row[: len(tokens)] = tokens
        return table

    def table(self, sample_ids: Sequence[str], steps: int) -> NDArray[np.int64]:
        """The token each candidate draws at each step, the end behind its last: int64 [images, candidates, steps]."""
        places = [self._places[each] for each in sample_ids]
        return self._tokens[places][:, :, np.minimum(np.arange(steps), self._tokens.shape[2] - 1)]

    def written(
        self, sample_ids: Sequence[str], images: NDArray[np.int64], candidates: NDArray[np.int64], step: int
    ) -> NDArray[np.int64]:
        """What `candidates[i]` of `sample_ids[images[i]]` draws at a step: int64, one for each i."""
        places = np.array([self._places[each] for each in sample_ids])
        written: NDArray[np.int64] = self._tokens[places[images], candidates, min(step, self._tokens.shape[2] - 1)]
        return written

    @staticmethod
    def expect(logits: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor, by: float = _RAISE) -> torch.Tensor:
        """Logits [rows, vocab] with `tokens[i]` of `rows[i]` (int64, both) raised, in place. A pair may come again."""
        return logits.index_put_((rows, tokens), logits[rows, tokens] + by)

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
    least, the rest fall to captions with weights 1, 1/2, 1/3, … (Zipf), in random order. Of several such draws an image
    gets the one whose candidates are nearest to the mean: a pipeline that is given few images has no shorter or longer
    captions to write than one that is given many.
    """
    generator = np.random.default_rng(seed)
    vocabulary = np.asarray(words)
    shortest, longest = (max(_SHORTEST, mean_tokens + by) for by in (-3, 3))

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
        return tuple(distinct[each] for each in chosen)

    def off(own: tuple[Tokens, ...]) -> float:
        return abs(float(np.mean([len(tokens) for tokens in own])) - (shortest + longest) / 2)

    captions = {}
    for number, sample_id in enumerate(sample_ids):
        count = min(candidates, max(1, mean_distinct + _AROUND[number % len(_AROUND)]))
        captions[sample_id] = min((draw(count) for _ in range(_DRAWS)), key=off)
    return Script(captions, end_token)
