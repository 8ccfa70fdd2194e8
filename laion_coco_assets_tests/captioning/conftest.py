"""Small models of the real classes with random weights, written as they are published. None of them has seen an image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from laion_coco_assets.captioning.loading import Blip, Clip, load_blip, load_clip
from laion_coco_assets.contract.profile import CaptionerSource, CaptionSettings, MaxLength, RankerSource

CPU = torch.device("cpu")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "picture", "of", "the", "on", ".", ",", "'", "s", "##s", "##ing", "red", "blue", "ball", "hat"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever opens a connection or looks up a name fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"used the network: {args}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def randomise(model: torch.nn.Module, std: float, seed: int) -> None:
    """Weights large enough for the model to have opinions, norms near one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, std, generator=generator)
            if parameter.ndim == 1 and "bias" not in name and parameter.numel() > 1:
                parameter.add_(1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5, generator=generator)


def blip_tokenizer() -> BertTokenizer:
    words = [*SPECIAL, *WORDS]
    words += [f"{a}{b}{c}" for a in "bdkmpt" for b in "aeiou" for c in "lnrs"]
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)}, do_lower_case=True)


def save_blip(folder: Path, seed: int = 0) -> Path:
    """A BLIP of 64-pixel images and some 140 tokens in transformers' format."""
    tokenizer = blip_tokenizer()
    vocabulary = len(tokenizer) + 2
    config = BlipConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 40,
            "bos_token_id": vocabulary - 2,
            "sep_token_id": SPECIAL.index("[SEP]"),
            "pad_token_id": 0,
            "eos_token_id": SPECIAL.index("[SEP]"),
        },
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "image_size": 64,
            "patch_size": 16,
        },
    )
    model = BlipForConditionalGeneration(config).eval()
    randomise(model, 0.35, seed)
    with torch.no_grad():  # decided enough for candidates to agree at first, and to end at last
        model.text_decoder.bert.embeddings.word_embeddings.weight.mul_(2)
        model.text_decoder.cls.predictions.decoder.bias[SPECIAL.index("[SEP]")] += 4
    model.save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 64, "width": 64}, image_std=[0.25, 0.26, 0.27])
    BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder


VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
RESNET = {**VIT, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}


def save_clip(folder: Path, config: dict[str, Any], *, quick_gelu: bool = False, seed: int = 0) -> Path:
    """A CLIP as a folder in open_clip's format, weights random."""
    folder.mkdir(parents=True, exist_ok=True)
    model_config = {**config, "quick_gelu": quick_gelu}
    custom = model_config.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**model_config).eval()
    randomise(model, 0.1, seed)
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic", "size": [64, 64]}
    content = {"model_cfg": {**config, "quick_gelu": quick_gelu}, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="session")
def blip(blip_folder: Path) -> Blip:
    return load_blip(CaptionerSource(name="tiny", path=blip_folder), CPU, torch.float32)


def local_clip(folder: Path, pretrained: str = "own") -> Clip:
    return load_clip(RankerSource(name="tiny", pretrained=pretrained, path=folder), CPU, torch.float32)


@pytest.fixture(scope="session")
def clip_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: save_clip(tmp_path_factory.mktemp(name), config) for name, config in (("vit", VIT), ("resnet", RESNET))
    }


@pytest.fixture(scope="session")
def vit(clip_folders: dict[str, Path]) -> Clip:
    return local_clip(clip_folders["vit"])


@pytest.fixture(scope="session")
def resnet(clip_folders: dict[str, Path]) -> Clip:
    return local_clip(clip_folders["resnet"])


@pytest.fixture(scope="session")
def as_loaded(clip_folders: dict[str, Path]) -> dict[str, Clip]:
    """The same models for comparison: never given to a ranker, which changes what it takes over."""
    return {name: local_clip(folder) for name, folder in clip_folders.items()}


def make_images(count: int, seed: int = 0) -> list[Image.Image]:
    """Smooth random pictures of several sizes and modes."""
    generator = np.random.default_rng(seed)
    images = []
    for index in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        image = coarse.resize((50 + 17 * index, 90 + 5 * index), Image.Resampling.BICUBIC)
        images.append(image.convert(("RGB", "L", "RGBA", "P")[index % 4]))
    return images


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    return make_images(7)


@pytest.fixture(scope="session")
def settings_with() -> Callable[..., CaptionSettings]:
    def build(**changes: Any) -> CaptionSettings:
        values: dict[str, Any] = {
            "model": CaptionerSource(name="tiny"),
            "seed": 7,
            "prompt": "a picture of ",
            "top_p": 0.6,
            "top_k": 100,
            "temperature": 1.0,
            "repetition_penalty": 1.3,
            "min_length": 3,
            "max_lengths": (MaxLength(tokens=6, candidates=4), MaxLength(tokens=12, candidates=8)),
            "forced_end": 0.3,
        }
        return CaptionSettings(**{**values, **changes})

    return build
