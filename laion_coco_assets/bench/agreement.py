"""Checks whether a precision ranks like float32, on the same images and captions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laion_coco_assets.bench.engine import Ranking


@dataclass(frozen=True)
class Agreement:
    """How a precision agrees with float32, over the samples with at least two captions.

    Shares are of samples. Correlations are Spearman's within a sample, averaged. The largest difference of a score is over
    all pairs. `rn50x64_correlation` is None when no sample kept two captions in both. `same_captions_alone` is the share of all
    images that get the same captions alone and in a batch, in this precision; None when the captions are scripted.
    """

    samples: int
    same_winner: float
    same_top: float
    clip_l_correlation: float
    rn50x64_correlation: float | None
    largest_difference: float
    same_captions_alone: float | None = None


def compare(half: Sequence[Ranking], exact: Sequence[Ranking]) -> Agreement | None:
    """Compare two rankings of the same captions. None when no image has two captions.

    Final scores are compared where both kept the same captions; elsewhere they belong to different texts.
    """
    pairs = [(a, b) for a, b in zip(half, exact, strict=True) if len(b.captions) > 1]
    if not pairs:
        return None
    finals = []
    for a, b in pairs:
        shared = [place for place in b.top if place in a.top]
        if len(shared) > 1:
            finals.append(
                spearman(
                    *(np.array([ranking.final[ranking.top.index(place)] for place in shared]) for ranking in (a, b))
                )
            )
    return Agreement(
        samples=len(pairs),
        same_winner=float(np.mean([a.winner == b.winner for a, b in pairs])),
        same_top=float(np.mean([set(a.top) == set(b.top) for a, b in pairs])),
        clip_l_correlation=float(np.mean([spearman(a.scores, b.scores) for a, b in pairs])),
        rn50x64_correlation=float(np.mean(finals)) if finals else None,
        largest_difference=float(max(np.abs(a.scores - b.scores).max() for a, b in pairs)),
    )


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Rank correlation; 1 for two equal orders. Equal scores share the mean of their ranks."""
    ranks = [_ranks(values) - (len(values) - 1) / 2 for values in (a, b)]
    norm = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    return float(ranks[0] @ ranks[1]) / norm if norm else 1.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values])
