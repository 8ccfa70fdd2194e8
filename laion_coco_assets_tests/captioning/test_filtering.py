"""One step's filter equals FACTS.md's, token by token; the fast path equals the full one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_coco_assets.captioning import filtering
from laion_coco_assets.captioning.filtering import filter_step
from laion_coco_assets.contract.profile import CaptionerSource, CaptionSettings, MaxLength
from laion_coco_assets_tests.captioning.reference import reference_draw, reference_step


def caption_settings(**changes: object) -> CaptionSettings:
    values: dict[str, object] = {
        "model": CaptionerSource(name="any"),
        "seed": 0,
        "prompt": "",
        "top_p": 1.0,
        "top_k": 10**6,
        "temperature": 1.0,
        "repetition_penalty": 1.0,
        "min_length": 0,
        "max_lengths": (MaxLength(tokens=1, candidates=1),),
        "forced_end": 1.0,
    }
    return CaptionSettings.model_validate({**values, **changes})


def shares(logits: torch.Tensor, seen: torch.Tensor | None = None, **changes: object) -> list[dict[int, float]]:
    """What may be drawn from each row, with its share."""
    masked = bool(changes.pop("end_masked", False))
    seen = torch.zeros(len(logits), 0, dtype=torch.int64) if seen is None else seen
    result = filter_step(logits, seen, end_token=0, end_masked=masked, settings=caption_settings(**changes))
    rows = []
    for tokens, sums in zip(result.tokens, result.cumulative, strict=True):
        weights = torch.diff(sums, prepend=torch.zeros(1, dtype=sums.dtype)) / sums[-1]
        rows.append({int(t): float(w) for t, w in zip(tokens, weights, strict=True) if w > 0})
    return rows


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    vocab=st.sampled_from([2, 7, 63, 64, 65, 150, 400]),
    spread=st.sampled_from([0.1, 1.0, 4.0, 12.0]),
    coarse=st.booleans(),
    top_k=st.one_of(st.integers(1, 500), st.sampled_from([64, 65, 9607])),
    top_p=st.one_of(st.integers(1, 996).map(lambda each: each / 997), st.just(0.2427084604681384), st.just(1.0)),
    temperature=st.sampled_from([1.0, 0.7, 1.9]),
    penalty=st.sampled_from([1.0, 1.3, 2.0]),
    masked=st.booleans(),
    length=st.integers(0, 9),
)
def test_filter_equals_the_plain_reference(
    *,
    seed: int,
    vocab: int,
    spread: float,
    coarse: bool,
    top_k: int,
    top_p: float,
    temperature: float,
    penalty: float,
    masked: bool,
    length: int,
) -> None:
    generator = np.random.default_rng(seed)
    rows, draws, end = 3, 20, int(generator.integers(vocab))
    numbers = generator.normal(0, spread, (rows, vocab))
    logits = torch.tensor(np.round(numbers * 2) / 2 if coarse else numbers, dtype=torch.float32)
    seen = torch.tensor(generator.integers(0, vocab, (rows, length)), dtype=torch.int64)
    chosen = caption_settings(top_p=top_p, top_k=top_k, temperature=temperature, repetition_penalty=penalty)
    before = logits.clone()

    result = filter_step(logits, seen, end_token=end, end_masked=masked, settings=chosen)

    assert torch.equal(logits, before)
    pairs = np.repeat(np.arange(rows), draws)
    uniforms = generator.random(rows * draws)
    drawn = result.draw(torch.from_numpy(pairs), torch.from_numpy(uniforms)).tolist()
    for row in range(rows):
        end_probability, kept = reference_step(logits[row].tolist(), seen[row].tolist(), end, masked, chosen)
        assert result.end_probability[row].item() == pytest.approx(end_probability, rel=1e-6)
        assert set(result.tokens[row].tolist()) - {vocab} == set(kept)
        own = pairs == row
        assert [drawn[i] for i in np.flatnonzero(own)] == [reference_draw(kept, each) for each in uniforms[own]]


def test_raw_end_probability_is_taken_before_the_mask_and_the_penalty() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    chosen = caption_settings(repetition_penalty=5.0, temperature=3.0, top_k=1)
    result = filter_step(logits, torch.tensor([[0, 1]]), end_token=0, end_masked=True, settings=chosen)
    assert result.end_probability.item() == pytest.approx(torch.softmax(logits.double(), 1)[0, 0].item())
    assert result.draw(torch.tensor([0]), torch.tensor([0.5], dtype=torch.float64)).item() == 1


def test_penalty_divides_what_is_positive_and_multiplies_what_is_negative_once_a_token() -> None:
    seen = torch.tensor([[1, 2, 1, 2]])
    [row] = shares(torch.tensor([[0.0, 2.6, -1.0]]), seen, repetition_penalty=1.3)
    expected = torch.softmax(torch.tensor([0.0, 2.0, -1.3], dtype=torch.float64), 0)
    assert list(row.values()) == pytest.approx(expected.tolist(), rel=1e-6)


def test_the_token_that_crosses_top_p_is_kept_and_of_equal_ones_the_lower() -> None:
    probabilities = torch.tensor([[0.2, 0.4, 0.2, 0.2]])
    assert set(shares(probabilities.log(), top_p=0.39)[0]) == {1}
    assert set(shares(probabilities.log(), top_p=0.41)[0]) == {0, 1}
    assert set(shares(probabilities.log(), top_p=0.7)[0]) == {0, 1, 2}


def test_top_k_comes_before_top_p() -> None:
    probabilities = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    # Of the two that top-k leaves, the first alone is 0.57 of the whole.
    assert set(shares(probabilities.log(), top_k=2, top_p=0.5)[0]) == {0}
    assert set(shares(probabilities.log(), top_p=0.5)[0]) == {0, 1}


def test_draw_never_takes_what_has_no_probability() -> None:
    logits = torch.full((1, 5), float("-inf"))
    logits[0, 2] = 0.0
    logits[0, 3] = -800.0  # underflows
    result = filter_step(
        logits, torch.zeros(1, 0, dtype=torch.int64), end_token=0, end_masked=False, settings=caption_settings()
    )
    edge = torch.tensor([0.0, 0.5, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert result.draw(torch.zeros(3, dtype=torch.int64), edge).tolist() == [2, 2, 2]


def test_draw_follows_the_probabilities() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.3]]).log()
    result = filter_step(
        logits, torch.zeros(1, 0, dtype=torch.int64), end_token=0, end_masked=False, settings=caption_settings()
    )
    uniforms = torch.arange(1000, dtype=torch.float64) / 1000 + 0.0005
    drawn = result.draw(torch.zeros(1000, dtype=torch.int64), uniforms)
    assert torch.bincount(drawn).tolist() == [500, 200, 300]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_filtered_as_their_float32_values(dtype: torch.dtype) -> None:
    logits = torch.randn(4, 300, generator=torch.Generator().manual_seed(0)).mul(3).to(dtype)
    assert shares(logits, top_p=0.5, top_k=200) == shares(logits.float(), top_p=0.5, top_k=200)


def test_fast_path_equals_the_full_one_at_blips_size(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    scales = torch.linspace(0.2, 6, 30).unsqueeze(1)
    logits = torch.randn(30, 30_524, generator=generator) * scales
    logits[7] = logits[7].round()  # ties by the hundred
    chosen = {"top_p": 0.2427084604681384, "top_k": 9607}
    full_rows = 0

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def call(scores: torch.Tensor, *rest: object) -> object:
            nonlocal full_rows
            full_rows += len(scores)
            return original(scores, *rest)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(filtering, "_kept_in_full", counted(filtering._kept_in_full))
        fast = shares(logits, **chosen)
    assert 0 < full_rows < 20, "both paths are taken"
    monkeypatch.setattr(filtering, "_FAST", 10**6)
    assert shares(logits, **chosen) == fast
