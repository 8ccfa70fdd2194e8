"""The sampler writes what one candidate at a time, without a cache, would write; neighbours do not matter."""

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.group import Group
from laion_coco_assets.captioning.interfaces import Candidates
from laion_coco_assets.captioning.loading import Blip, load_blip
from laion_coco_assets.contract.profile import CaptionerSource, CaptionSettings, MaxLength
from laion_coco_assets.errors import DeviceError, ProfileError
from laion_coco_assets_tests.captioning.reference import prompt_tokens, reference_candidates

Settings = Callable[..., CaptionSettings]


def drawn(captioner: BlipCaptioner, images: list[Image.Image], sample_ids: list[str]) -> list[list[list[int]]]:
    return [[list(tokens) for tokens in each] for each in captioner._sample(images, sample_ids)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"top_p": 0.2427084604681384, "top_k": 9607},
        {"top_p": 1.0, "temperature": 1.5, "forced_end": 1.0},
        {"top_p": 0.9, "top_k": 10, "repetition_penalty": 1.0, "min_length": 0, "forced_end": 0.05},
        {"prompt": "", "top_p": 0.95},
    ],
)
def test_equals_one_candidate_at_a_time(
    blip: Blip, images: list[Image.Image], settings_with: Settings, changes: dict[str, object]
) -> None:
    settings = settings_with(**changes)
    captioner = BlipCaptioner(blip, settings)
    ids = [f"sample {index}" for index in range(4)]
    expected = [reference_candidates(blip, settings, image, each) for image, each in zip(images, ids, strict=False)]
    assert drawn(captioner, images[:4], ids) == expected


def test_neighbours_order_and_batch_size_do_not_matter(
    blip: Blip, images: list[Image.Image], settings_with: Settings
) -> None:
    settings = settings_with(top_p=0.9)
    ids = [f"id{index}" for index in range(7)]
    alone = [BlipCaptioner(blip, settings).caption([image], [each])[0] for image, each in zip(images, ids, strict=True)]
    assert BlipCaptioner(blip, settings, batch_size=7).caption(images, ids) == alone
    assert BlipCaptioner(blip, settings, batch_size=3).caption(images, ids) == alone
    order = [4, 0, 6, 2, 1, 5, 3]
    shuffled = BlipCaptioner(blip, settings, batch_size=5).caption([images[i] for i in order], [ids[i] for i in order])
    assert shuffled == [alone[i] for i in order]
    assert len({each.captions for each in alone}) == 7


def test_sample_id_and_seed_decide_the_draws(blip: Blip, images: list[Image.Image], settings_with: Settings) -> None:
    same, other = BlipCaptioner(blip, settings_with(top_p=0.9)).caption([images[0]] * 2, ["a", "b"])
    assert same != other
    assert BlipCaptioner(blip, settings_with(top_p=0.9, seed=8)).caption([images[0]], ["a"]) != [same]
    assert BlipCaptioner(blip, settings_with(top_p=0.9)).caption([images[0]], ["a"]) == [same]


def test_top_k_of_one_equals_generate(blip: Blip, images: list[Image.Image], settings_with: Settings) -> None:
    settings = settings_with(top_k=1, min_length=0, forced_end=1.0, max_lengths=(MaxLength(tokens=15, candidates=2),))
    ours = drawn(BlipCaptioner(blip, settings), images, [str(index) for index in range(7)])
    prompt = prompt_tokens(blip, settings.prompt)
    whole = torch.tensor([[*prompt, blip.end_token]]).repeat(7, 1)
    theirs = blip.model.generate(
        blip.preprocessing(images), whole, do_sample=False, num_beams=1, repetition_penalty=1.3, max_new_tokens=15
    )
    for own, row in zip(ours, theirs.tolist(), strict=True):
        after = row[len(prompt) :]
        expected = after[: after.index(blip.end_token)] if blip.end_token in after else after
        assert own == [expected, expected]


def test_each_candidate_has_its_own_max_length(blip: Blip, images: list[Image.Image], settings_with: Settings) -> None:
    lengths = (MaxLength(tokens=2, candidates=3), MaxLength(tokens=5, candidates=2), MaxLength(tokens=9, candidates=4))
    settings = settings_with(max_lengths=lengths, min_length=2, forced_end=1.0, top_p=0.5, top_k=200)
    # Without the end among what may be drawn, every candidate is exactly as long as it may be.
    unending = BlipCaptioner(with_end_bias(blip, -100.0), settings)
    for candidates in drawn(unending, images, list("abcdefg")):
        assert [len(each) for each in candidates] == [2, 2, 2, 5, 5, 9, 9, 9, 9]


def test_min_length_holds_back_the_end(blip: Blip, images: list[Image.Image], settings_with: Settings) -> None:
    eager = with_end_bias(blip, 30.0)
    settings = settings_with(min_length=4, forced_end=1.0)
    assert {len(each) for one in drawn(BlipCaptioner(eager, settings), images, list("abcdefg")) for each in one} == {4}


def test_a_forced_end_may_come_before_the_min_length(
    blip: Blip, images: list[Image.Image], settings_with: Settings
) -> None:
    eager = with_end_bias(blip, 30.0)
    captioner = BlipCaptioner(eager, settings_with(min_length=4, forced_end=0.9))
    assert drawn(captioner, images, list("abcdefg")) == [[[]] * 12] * 7
    empty = Candidates(captions=(), multiplicities=(), token_counts=())
    assert captioner.caption(images, list("abcdefg")) == [empty] * 7


def with_end_bias(blip: Blip, bias: float) -> Blip:
    """The same model with another inclination to end."""
    model = copy.deepcopy(blip.model)
    model.text_decoder.cls.predictions.decoder.bias.data[blip.end_token] += bias
    return dataclasses.replace(blip, model=model)


def test_duplicates_are_merged_in_sampling_order_with_their_multiplicity(
    blip: Blip, images: list[Image.Image], settings_with: Settings
) -> None:
    settings = settings_with(
        top_p=0.3, max_lengths=(MaxLength(tokens=3, candidates=8), MaxLength(tokens=5, candidates=32))
    )
    captioner = BlipCaptioner(blip, settings)
    ids = list("abcdefg")
    merged = 0
    for tokens, result in zip(drawn(captioner, images, ids), captioner.caption(images, ids), strict=True):
        texts = [caption_of(blip, settings, each) for each in tokens]
        counts = Counter(text for text in texts if text)
        assert list(result.captions) == list(dict.fromkeys(text for text in texts if text))
        assert list(result.multiplicities) == [counts[text] for text in result.captions]
        assert list(result.token_counts) == [len(tokens[texts.index(text)]) for text in result.captions]
        assert sum(result.multiplicities) == 40 - texts.count("")
        merged += max(result.multiplicities, default=1) > 1
    assert merged, "some were drawn more than once"


def caption_of(blip: Blip, settings: CaptionSettings, tokens: list[int]) -> str:
    """The whole decoded as BLIP's processor does, less the prompt."""
    whole: str = blip.tokenizer.decode([*prompt_tokens(blip, settings.prompt)[1:], *tokens], skip_special_tokens=True)
    return whole.removeprefix("a picture of").strip()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["the", "red", "ball", "."], "the red ball."),
        (["##s", "the", "hat"], "s the hat"),
        (["hat", "##s", ",", "the", "ball", "##ing"], "hats, the balling"),
        (["[PAD]", "hat", "[UNK]"], "hat"),
        (["[MASK]"], ""),
    ],
)
def test_captions_read_as_the_processor_writes_them(
    blip: Blip, settings_with: Settings, words: list[str], expected: str
) -> None:
    tokens = tuple(blip.tokenizer.convert_tokens_to_ids(words))
    captioner = BlipCaptioner(blip, settings_with())
    assert captioner._text._caption(tokens) == expected
    assert captioner._text._caption((*tokens, blip.start_token, blip.start_token + 1)) == expected  # of no vocabulary


def test_prompt_is_tokenised_as_blip_does(blip: Blip, settings_with: Settings) -> None:
    for prompt in ("a picture of ", "", "The red, red HAT's "):
        assert BlipCaptioner(blip, settings_with(prompt=prompt))._prompt == prompt_tokens(blip, prompt)


def test_captions_longer_than_the_model_allows_name_the_setting(blip: Blip, settings_with: Settings) -> None:
    BlipCaptioner(blip, settings_with(max_lengths=(MaxLength(tokens=37, candidates=1),)))
    with pytest.raises(ProfileError, match=r"caption\.max_lengths: 38 tokens after a prompt of 4 .* 40 positions"):
        BlipCaptioner(blip, settings_with(max_lengths=(MaxLength(tokens=38, candidates=1),)))


def test_numbers_that_overflow_name_the_dtype_setting(
    blip: Blip, images: list[Image.Image], settings_with: Settings
) -> None:
    with pytest.raises(DeviceError, match=r"LAION_COCO_DTYPE / --dtype"):
        BlipCaptioner(with_end_bias(blip, np.nan), settings_with()).caption(images[:1], ["a"])


def test_no_images_give_nothing_and_lengths_must_match(
    blip: Blip, images: list[Image.Image], settings_with: Settings
) -> None:
    captioner = BlipCaptioner(blip, settings_with())
    assert captioner.caption([], []) == []
    with pytest.raises(ValueError, match="2 images, but 1 sample_ids"):
        captioner.caption(images[:2], ["a"])


class Forced(BlipCaptioner):
    """Writes the same tokens whatever the model expects, and keeps what it expected."""

    expected: list[torch.Tensor]  # [images, vocab] a step

    def _expectation(self, group: Group) -> torch.Tensor:
        self.expected.append(group.logits.double())
        return group.logits

    def _outcome(
        self, group: Group, tokens: NDArray[np.int64], ends: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        text = np.random.default_rng(group.step).integers(5, 140, len(group.tree.images))
        return text[group.tree.images], np.zeros(len(text), dtype=np.bool_)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_expects_what_float32_does(
    blip_folder: Path, images: list[Image.Image], settings_with: Settings, dtype: torch.dtype
) -> None:
    """Over the same captions. Logits are off by 3 eps of their own spread in both; after one prefix, in float16, by 29."""

    def expected(of: torch.dtype) -> torch.Tensor:
        own = load_blip(CaptionerSource(name="tiny", path=blip_folder), torch.device("cpu"), of)
        captioner = Forced(own, settings_with(max_lengths=(MaxLength(tokens=20, candidates=1),)), batch_size=7)
        captioner.expected = []
        captioner.caption(images, list("abcdefg"))
        return torch.stack(captioner.expected)

    exact = expected(torch.float32)
    assert exact.shape[:2] == (20, 7)
    off = (expected(dtype) - exact).abs() / exact.std() / torch.finfo(dtype).eps
    assert 0.5 < off.mean() < 6, "near, and not the same: it was another precision"
    assert off.mean(dim=2).max() < 60, "after any prefix of any image"
