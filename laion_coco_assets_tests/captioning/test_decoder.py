"""The project's own forward gives transformers' numbers, whole, step by step and over branching rows."""

import numpy as np
import pytest
import torch
from PIL import Image

from laion_coco_assets.captioning.decoder import BlipDecoder
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.captioning.vision import encode_images
from laion_coco_assets_tests.captioning.reference import step_decoder, worker_pixels


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


def their_logits(blip: Blip, hidden: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """[length, vocab] of one row, without a cache."""
    logits: torch.Tensor = blip.model.text_decoder(
        input_ids=torch.tensor([tokens]), encoder_hidden_states=hidden.unsqueeze(0)
    ).logits[0]
    return logits


def states_of(blip: Blip, images: list[Image.Image]) -> torch.Tensor:
    return encode_images(blip.model.vision_model, blip.preprocessing(images))


def test_preprocessing_is_the_workers(blip: Blip, images: list[Image.Image]) -> None:
    theirs = torch.cat([worker_pixels(blip, image) for image in images])
    torch.testing.assert_close(blip.preprocessing(images), theirs, atol=1e-6, rtol=0)
    assert blip.preprocessing(images).is_contiguous(), "else a copy to a GPU waits, pinned though it is"
    assert blip.preprocessing.size == 64
    assert blip.preprocessing.std == (0.25, 0.26, 0.27)


def test_vision_states_equal_transformers(blip: Blip, images: list[Image.Image]) -> None:
    pixels = blip.preprocessing(images)
    theirs = blip.model.vision_model(pixels).last_hidden_state
    torch.testing.assert_close(encode_images(blip.model.vision_model, pixels), theirs, atol=1e-4, rtol=1e-4)
    assert theirs.std(dim=0).mean() > 0.05, "the images differ, so that the comparison means something"


def test_teacher_forced_logits_equal_transformers(blip: Blip, images: list[Image.Image]) -> None:
    """Token by token through the cache, against one pass without any."""
    hidden = states_of(blip, images)
    decoder = BlipDecoder(blip.model)
    texts = torch.randint(5, 140, (len(images), 20), generator=torch.Generator().manual_seed(0))
    theirs = torch.stack(
        [
            their_logits(blip, states, [blip.start_token, *text.tolist()])
            for states, text in zip(hidden, texts, strict=True)
        ]
    )
    logits, prefixes = decoder.start(decoder.look(hidden), [blip.start_token])
    ours = [logits]
    rows = np.arange(len(images))
    for tokens in texts.T:
        logits, prefixes = step_decoder(decoder, prefixes, rows, tokens.numpy())
        ours.append(logits)
    torch.testing.assert_close(torch.stack(ours, dim=1), theirs, atol=1e-4, rtol=0)
    assert theirs.std() > 0.5, "the logits are not flat"


def test_prompt_in_one_pass_equals_transformers(blip: Blip, images: list[Image.Image]) -> None:
    hidden = states_of(blip, images)
    decoder = BlipDecoder(blip.model)
    prompt = [blip.start_token, 5, 6, 7, 90]
    logits, prefixes = decoder.start(decoder.look(hidden), prompt)
    theirs = torch.stack([their_logits(blip, states, prompt)[-1] for states in hidden])
    torch.testing.assert_close(logits, theirs, atol=1e-4, rtol=0)
    assert prefixes.tokens.tolist() == [prompt] * len(images)


def test_branching_and_leaving_rows_equal_transformers(blip: Blip, images: list[Image.Image]) -> None:
    """Random trees: rows branch, rows and whole images leave, and every row is still what it would be alone."""
    generator = np.random.default_rng(3)
    hidden = states_of(blip, images)
    decoder = BlipDecoder(blip.model)
    logits, prefixes = decoder.start(decoder.look(hidden), [blip.start_token, 5, 6])
    histories = [(image, [blip.start_token, 5, 6]) for image in range(len(images))]
    seen_images = []
    for step in range(9):
        wanted = [int(generator.integers(0, 4)) if step < 4 else int(generator.integers(0, 2)) for _ in histories]
        parents = np.repeat(np.arange(len(histories)), wanted)
        if not len(parents):
            break
        tokens = generator.integers(5, 140, len(parents))
        logits, prefixes = step_decoder(decoder, prefixes, parents, tokens)
        histories = [
            (histories[parent][0], [*histories[parent][1], int(token)])
            for parent, token in zip(parents, tokens, strict=True)
        ]
        theirs = torch.stack([their_logits(blip, hidden[image], row)[-1] for image, row in histories])
        torch.testing.assert_close(logits, theirs, atol=1e-4, rtol=0)
        assert prefixes.tokens.tolist() == [row for _, row in histories]
        seen_images.append(len(prefixes.states))
    assert seen_images[-1] < len(images), "images without rows have left"


def test_cross_attention_is_held_once_per_image(blip: Blip, images: list[Image.Image]) -> None:
    decoder = BlipDecoder(blip.model)
    states = decoder.look(states_of(blip, images))
    _, prefixes = decoder.start(states, [blip.start_token])
    parents = np.repeat(np.arange(len(images)), 40)
    _, prefixes = step_decoder(decoder, prefixes, parents, np.arange(len(parents)) % 100 + 10)
    assert prefixes.states.cache.data_ptr() == states.cache.data_ptr()
    assert prefixes.cache.shape[2] == 40 * len(images)
