"""How a precision's ranking is compared with float32's."""

import numpy as np
import pytest

from laion_coco_assets.bench.agreement import compare, spearman
from laion_coco_assets.bench.engine import Ranking


def ranking(scores: list[float], top: tuple[int, ...], final: list[float]) -> Ranking:
    return Ranking(tuple("abcdef"[: len(scores)]), np.array(scores), top, np.array(final))


def test_spearman() -> None:
    a = np.array([0.1, 0.5, 0.3, 0.9])
    assert spearman(a, a * 7 + 1) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])) == pytest.approx(0.9487, abs=1e-4)
    assert spearman(np.array([1.0, 1.0]), a[:2]) == 1, "all equal: no order to get wrong"


def test_compare_counts_winners_and_tops() -> None:
    exact = [ranking([0.3, 0.2, 0.1], (0, 1), [0.5, 0.4]), ranking([0.3, 0.2, 0.1], (0, 1), [0.5, 0.4])]
    half = [ranking([0.3, 0.2, 0.1], (0, 1), [0.5, 0.4]), ranking([0.3, 0.1, 0.2], (0, 2), [0.4, 0.5])]
    found = compare(half, exact)
    assert (found.samples, found.same_winner, found.same_top) == (2, 0.5, 0.5)
    assert found.clip_l_correlation == pytest.approx(0.75)
    assert found.largest_difference == pytest.approx(0.1)
    assert half[1].winner == "c"
