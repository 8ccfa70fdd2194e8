"""The shipped weights load by the ordinary means of their formats, and do what the demo needs of them."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor

from laion_coco_assets.demo.scenes import split_of
from tools.demo.measure import PROMPT, WEIGHTS, held_out_pictures, measure, sample_captions, scores
from tools.demo.training_scenes import vocabulary


def test_the_captioner_is_a_published_blip_folder() -> None:
    model: Any = BlipForConditionalGeneration.from_pretrained(WEIGHTS / "blip", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "blip")
    processor = BlipImageProcessor.from_pretrained(WEIGHTS / "blip")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert sum(parameter.numel() for parameter in model.parameters()) < 3_000_000
    text = model.config.text_config
    assert text.vocab_size == len(tokenizer)
    assert text.bos_token_id == tokenizer.convert_tokens_to_ids("[DEC]")
    assert text.sep_token_id == tokenizer.sep_token_id
    assert text.pad_token_id == tokenizer.pad_token_id == 0
    assert (processor.size["height"], processor.size["width"]) == (64, 64)


def test_the_tokenizer_knows_every_word_of_the_captions() -> None:
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "blip")
    ids = tokenizer(" ".join([*PROMPT.split(), *vocabulary()])).input_ids
    assert ids[0] == tokenizer.cls_token_id
    assert ids[-1] == tokenizer.sep_token_id
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == " ".join([*PROMPT.split(), *vocabulary()])


@pytest.mark.parametrize(("name", "tower"), [("clip_l", "VisionTransformer"), ("rn50x64", "ModifiedResNet")])
def test_the_rankers_are_open_clip_folders(name: str, tower: str) -> None:
    model: Any = open_clip.create_model(f"local-dir:{WEIGHTS / name}")
    assert type(model.visual).__name__ == tower
    assert any(type(module).__name__ == "QuickGELU" for module in model.modules())
    assert model.token_embedding.weight.shape[0] == 49408
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    stored = load_file(WEIGHTS / name / "open_clip_model.safetensors")
    assert set(stored) == set(model.state_dict())
    used = stored["token_embedding.weight"].abs().sum(1) > 0
    assert used.sum() < 200, "rows of words that never occur are zeros"
    config = json.loads((WEIGHTS / name / "open_clip_config.json").read_text())
    assert config["preprocess_cfg"]["resize_mode"] == "squash"


def test_the_package_stays_small() -> None:
    assert sum(path.stat().st_size for path in Path(WEIGHTS).rglob("*") if path.is_file()) < 25_000_000


def test_pictures_to_measure_with_are_held_out() -> None:
    assert {split_of(scene) for scene, _ in held_out_pictures(20, seed=3)} == {"held_out"}


def test_sampling_and_scoring_are_deterministic() -> None:
    images = [image for _, image in held_out_pictures(2, seed=3)]
    captions = sample_captions(WEIGHTS / "blip", images, candidates=4, top_p=0.9, seed=3)
    assert captions == sample_captions(WEIGHTS / "blip", images, candidates=4, top_p=0.9, seed=3)
    assert scores(WEIGHTS / "clip_l", images, captions) == scores(WEIGHTS / "clip_l", images, captions)


def test_ranking_beats_a_random_candidate_on_held_out_scenes() -> None:
    figures = measure(WEIGHTS, pictures=40)
    assert figures["random_candidate"] > 0.1
    assert figures["clip_l_top1"] > figures["random_candidate"]
    assert figures["final"] > figures["random_candidate"] + 0.05
