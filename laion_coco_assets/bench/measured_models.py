"""The models to measure: random weights in the published sizes or small, or a profile's own models."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import open_clip
import torch
from open_clip.model import convert_weights_to_lp
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration

from laion_coco_assets.captioning.loading import Blip, Clip, load_blip, load_clip
from laion_coco_assets.captioning.vision import ImagePreprocessing
from laion_coco_assets.contract.profile import CaptionSettings, Profile
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.errors import UserError

_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_STD: Final = (0.26862954, 0.26130258, 0.27577711)
_SPECIAL: Final = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
_PROMPT: Final = ("a", "picture", "of")
_FIRST_WORD: Final = 1000
_WORDS: Final = 30_522
_SEED: Final = 0


class Size(StrEnum):
    """The sizes of random models."""

    FULL = "full"
    SMALL = "small"


_BLIP: Final[dict[Size, dict[str, Any]]] = {
    # Salesforce/blip-image-captioning-large
    Size.FULL: {
        "text_config": {"encoder_hidden_size": 1024, "num_attention_heads": 12, "hidden_size": 768},
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 384,
            "initializer_range": 0.02,
        },
    },
    # In the proportions of the large one: a tower that costs more than the decoder, and hundreds of patches.
    Size.SMALL: {
        "text_config": {
            "encoder_hidden_size": 128,
            "hidden_size": 96,
            "intermediate_size": 384,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
        },
        "vision_config": {
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": 224,
            "patch_size": 16,
        },
    },
}
_SMALL_TEXT: Final = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3}
_SMALL_CLIP: Final[dict[str, dict[str, Any]]] = {
    "ViT-L-14": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 112, "layers": 4, "width": 96, "head_width": 32, "patch_size": 14},
        "text_cfg": _SMALL_TEXT,
    },
    "RN50x64": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 128, "layers": [1, 2, 2, 1], "width": 16, "patch_size": None},
        "text_cfg": _SMALL_TEXT,
    },
}


@dataclass(frozen=True)
class Models:
    """One pipeline's models, and how it samples. `words`: tokens for a script; empty when the weights are real."""

    blip: Blip
    clip_l: Clip
    rn50x64: Clip
    settings: CaptionSettings
    keep: int
    words: tuple[int, ...]


def random_models(size: Size, device: torch.device, dtype: torch.dtype) -> Models:
    """Models with random weights, the same in every dtype, and the sampling of the profile `laion-coco`."""
    profile = load_profile("laion-coco")
    vocabulary = _vocabulary()
    return Models(
        blip=_random_blip(size, vocabulary, device, dtype),
        clip_l=_random_clip("ViT-L-14", size, device, dtype),
        rn50x64=_random_clip("RN50x64", size, device, dtype),
        settings=profile.caption,
        keep=profile.rank.keep,
        words=tuple(range(_FIRST_WORD + len(_PROMPT), _WORDS)),
    )


def profile_models(profile: Profile, device: torch.device, dtype: torch.dtype) -> Models:
    """A profile's models with their real weights, which write their own captions.

    Raises:
        ModelUnavailableError: a model cannot be loaded.
        UserError: the profile ranks with only one CLIP.
    """
    if profile.final is None:
        raise UserError(f"--profile {profile.name}: it has only one ranker; the benchmark measures ranking with two")
    return Models(
        blip=load_blip(profile.caption.model, device, dtype),
        clip_l=load_clip(profile.rank.model, device, dtype),
        rn50x64=load_clip(profile.final.model, device, dtype),
        settings=profile.caption,
        keep=profile.rank.keep,
        words=(),
    )


@lru_cache(maxsize=1)
def _vocabulary() -> dict[str, int]:
    """BERT's layout with words of CLIP's vocabulary. So one BLIP token is about one CLIP token, as in real captions."""
    entries = _SPECIAL | {_FIRST_WORD + place: word for place, word in enumerate(_PROMPT)}
    ending = "</w>"
    whole = (
        word.removesuffix(ending)
        for word in open_clip.tokenizer.SimpleTokenizer().encoder
        if word.endswith(ending) and word.removesuffix(ending).isascii() and word.removesuffix(ending).isalpha()
    )
    known = (word for word in whole if word not in _PROMPT)
    for place in range(_WORDS):
        if place not in entries:
            word = next(known, None) if place >= _FIRST_WORD else None
            entries[place] = word if word is not None else f"[unused{place}]"
    return {entries[place]: place for place in sorted(entries)}


def _random_blip(size: Size, vocabulary: dict[str, int], device: torch.device, dtype: torch.dtype) -> Blip:
    torch.manual_seed(_SEED)
    config = BlipConfig(**_BLIP[size])
    model = BlipForConditionalGeneration(config)
    side = config.vision_config.image_size
    return Blip(
        model=model.to(device=device, dtype=dtype).eval().requires_grad_(False),
        tokenizer=BertTokenizer(vocab=vocabulary, do_lower_case=True),
        preprocessing=ImagePreprocessing(side, _MEAN, _STD, Image.Resampling.BICUBIC),
        start_token=config.text_config.bos_token_id,
        end_token=config.text_config.sep_token_id,
        positions=config.text_config.max_position_embeddings,
        revision="random",
        device=device,
        dtype=dtype,
    )


def _random_clip(name: str, size: Size, device: torch.device, dtype: torch.dtype) -> Clip:
    torch.manual_seed(_SEED)
    config = open_clip.get_model_config(name) if size is Size.FULL else _SMALL_CLIP[name]
    model = open_clip.CLIP(**config, quick_gelu=True)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bn3.weight"):  # open_clip starts them at zero, which would switch off most of the network
                parameter.fill_(0.3)
    model.to(device)
    if dtype != torch.float32:
        convert_weights_to_lp(model, dtype)
    side = config["vision_cfg"]["image_size"]
    return Clip(
        model=model.eval().requires_grad_(False),
        tokenizer=open_clip.get_tokenizer("ViT-L-14"),
        preprocess=image_transform_v2(PreprocessCfg(size=side, mean=_MEAN, std=_STD), is_train=False),
        revision="random",
        device=device,
        dtype=dtype,
    )
