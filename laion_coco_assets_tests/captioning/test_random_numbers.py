"""A draw depends on (seed, sample_id, candidate, step) and on nothing else, today and in ten years."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from laion_coco_assets.captioning.random_numbers import uniforms


@given(
    seed=st.integers(0, 2**63 - 1),
    sample_id=st.text(max_size=40),
    candidates=st.integers(1, 12),
    steps=st.integers(1, 50),
)
def test_asking_for_more_changes_nothing(seed: int, sample_id: str, candidates: int, steps: int) -> None:
    table = uniforms(seed, sample_id, candidates, steps)
    assert table.shape == (candidates, steps)
    assert table.dtype == np.float64
    assert ((table >= 0) & (table < 1)).all()
    np.testing.assert_array_equal(uniforms(seed, sample_id, candidates + 3, steps + 9)[:candidates, :steps], table)


def test_every_coordinate_matters_and_the_numbers_are_uniform() -> None:
    table = uniforms(0, "sample", 40, 500)
    assert len(np.unique(table)) == table.size
    others = [uniforms(1, "sample", 40, 500), uniforms(0, "sampler", 40, 500), uniforms(0, "", 40, 500)]
    assert all(not np.isin(table, other).any() for other in others)
    counts = np.histogram(table, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # chi squared, 19 degrees of freedom: p < 0.0002
    assert abs(np.corrcoef(table)[np.triu_indices(40, 1)]).max() < 0.25


def test_the_numbers_are_these_for_good() -> None:
    """Changing them changes every caption: raise the stage's version if it must be."""
    table = uniforms(0, "00000000000000000000000000000000", 2, 2)
    assert table.tolist() == [[0.4698871384590453, 0.831029048011816], [0.8164769567616268, 0.8953688425013885]]
