"""The published models' own sizes, random weights, saved and loaded as published: one image from end to end."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import BlipConfig, BlipForConditionalGeneration

from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.clip_ranker import ClipRanker
from laion_coco_assets.captioning.decoder import BlipDecoder
from laion_coco_assets.captioning.loading import load_blip, load_clip
from laion_coco_assets.captioning.vision import encode_images
from laion_coco_assets.contract.profile import CaptionerSource, MaxLength, RankerSource
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets_tests.captioning.conftest import CPU, SPECIAL, WORDS
from laion_coco_assets_tests.captioning.reference import prompt_tokens, step_decoder

pytestmark = pytest.mark.slow


@pytest.fixture
def big_folder(tmp_path: Path) -> Iterator[Path]:
    """pytest keeps the folders of its last runs; gigabytes are not kept."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def save_blip_large(folder: Path) -> Path:
    config = BlipConfig(
        text_config={"encoder_hidden_size": 1024, "num_attention_heads": 12, "hidden_size": 768},
        vision_config={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 384,
            "initializer_range": 0.02,
        },
    )
    model = BlipForConditionalGeneration(config)
    assert sum(each.numel() for each in model.parameters()) == 446_290_492  # the tied output table counted once
    model.save_pretrained(folder)
    # As in the hub's repository: BERT's vocabulary, in which [SEP] is 102 and the prompt's words have their places.
    words = [f"[unused{index}]" for index in range(30_522)]
    for place, word in zip((0, 100, 101, 102, 103), SPECIAL, strict=True):
        words[place] = word
    words[2000 : 2000 + len(WORDS)] = WORDS
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 384, "width": 384}}')
    return folder


@torch.inference_mode()
def test_blip_large(big_folder: Path) -> None:
    folder = save_blip_large(big_folder / "blip")
    blip = load_blip(CaptionerSource(name="Salesforce/blip-image-captioning-large", path=folder), CPU, torch.float32)
    assert (blip.start_token, blip.end_token, blip.positions) == (30_522, 102, 512)
    image = Image.effect_noise((500, 300), 80).convert("RGB")

    decoder, prompt = BlipDecoder(blip.model), prompt_tokens(blip, "a picture of ")
    hidden = encode_images(blip.model.vision_model, blip.preprocessing([image]))
    logits, prefixes = decoder.start(decoder.look(hidden), prompt)
    tokens = np.array([2000, 17_000, 30_000])
    after, _ = step_decoder(decoder, prefixes, np.zeros(3, dtype=np.int64), tokens)
    rows = torch.tensor([[*prompt, int(each)] for each in tokens])
    states = blip.model.vision_model(blip.preprocessing([image])).last_hidden_state.expand(3, -1, -1)
    theirs = blip.model.text_decoder(input_ids=rows, encoder_hidden_states=states).logits
    torch.testing.assert_close(logits[0], theirs[0, -2], atol=1e-4, rtol=0)
    torch.testing.assert_close(after, theirs[:, -1], atol=1e-4, rtol=0)

    original = load_profile("laion-coco").caption
    settings = original.model_copy(update={"max_lengths": (MaxLength(tokens=6, candidates=8),)})
    [result] = BlipCaptioner(blip, settings).caption([image], ["sample"])
    assert sum(result.multiplicities) <= 8


@pytest.mark.parametrize(("name", "parameters"), [("ViT-L-14", 427_616_513), ("RN50x64", 623_258_305)])
def test_openais_towers(name: str, parameters: int, big_folder: Path) -> None:
    file = big_folder / f"{name}.safetensors"
    model = open_clip.create_model(name)
    assert sum(each.numel() for each in model.parameters()) == parameters
    save_file({key: value.half() for key, value in model.state_dict().items()}, file)  # as OpenAI released them
    del model
    clip = load_clip(RankerSource(name=name, pretrained="openai", path=file), CPU, torch.float32)
    image = Image.effect_noise((500, 300), 80).convert("RGB")
    texts = ["a red ball on a blue hat", "a dog", "a long story " * 40]

    with torch.no_grad():  # before the ranker takes the model over
        own = clip.model.encode_image(clip.preprocess(image).unsqueeze(0), normalize=True)
        theirs = own @ clip.model.encode_text(open_clip.get_tokenizer(name)(texts), normalize=True).T

    [scores] = ClipRanker(clip).score_images([image], [texts])

    np.testing.assert_allclose(scores, theirs[0].numpy(), atol=1e-5, rtol=0)
