"""Loads BLIP from the hub or from a local transformers folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from transformers import AutoTokenizer, BlipForConditionalGeneration
from transformers.utils import logging as transformers_logging

from laion_coco_assets.captioning.hub import HubModel, gigabytes
from laion_coco_assets.captioning.vision import ImagePreprocessing
from laion_coco_assets.captioning.weights import READ_ERRORS
from laion_coco_assets.contract.fingerprint import content_digest
from laion_coco_assets.contract.profile import CaptionerSource
from laion_coco_assets.errors import ModelUnavailableError

_SETTING: Final = "caption.model.path"
#: Parameters in the hub's files, for the size of the download. The files hold the output table twice: it is tied.
_PARAMETERS: Final = {
    "Salesforce/blip-image-captioning-large": 469_732_924,
    "Salesforce/blip-image-captioning-base": 247_414_076,
}
_TOKENIZER_FILES: Final = ("tokenizer.json", "vocab.txt")
_CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Blip:
    """BLIP, ready to caption. Its token ids come from the model's configuration; its revision names what was loaded."""

    model: Any  # transformers' BlipForConditionalGeneration, in eval mode
    tokenizer: Any  # its tokenizer
    preprocessing: ImagePreprocessing
    start_token: int
    end_token: int
    positions: int
    revision: str
    device: torch.device
    dtype: torch.dtype


def load_blip(source: CaptionerSource, device: torch.device, dtype: torch.dtype) -> Blip:
    """Load BLIP. With `source.path`, no network is used.

    Raises:
        ModelUnavailableError: it is not available, is damaged, or is another model.
    """
    if source.path is None:
        folder = _hub_model(source).fetch()
        return _load(folder, folder.name, device, dtype)
    if not source.path.is_dir():
        raise ModelUnavailableError(f"{_SETTING}: {source.path} is not a folder; BLIP is a transformers folder")
    return _load(source.path, f"local:{content_digest(source.path)}", device, dtype)


def _hub_model(source: CaptionerSource) -> HubModel:
    return HubModel(
        repo=source.name,
        revision=source.revision,
        choose=_files_to_load,
        size=gigabytes(_PARAMETERS.get(source.name)),
        include=("*.json", "vocab.txt", "model*.safetensors"),
        setting=_SETTING,
    )


def _files_to_load(present: frozenset[str]) -> list[str]:
    """The files to load from a transformers folder, safetensors first. Empty when a needed file is missing."""
    weights = (
        ["model.safetensors"]
        if "model.safetensors" in present
        else sorted(name for name in present if name.startswith("model") and ".safetensors" in name)
        if "model.safetensors.index.json" in present
        else [name for name in ("pytorch_model.bin",) if name in present]
    )
    if not weights or "config.json" not in present or present.isdisjoint(_TOKENIZER_FILES):
        return []
    configuration = {
        "config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        *_TOKENIZER_FILES,
    }
    return [*sorted(configuration & present), *weights]


def _load(folder: Path, revision: str, device: torch.device, dtype: torch.dtype) -> Blip:
    _check_files(folder)
    model = _load_model(folder, dtype)
    text, vision = model.config.text_config, model.config.vision_config
    tokenizer = _load_tokenizer(folder, text.vocab_size)
    if text.bos_token_id is None or text.sep_token_id is None:
        raise ModelUnavailableError(f"{folder / 'config.json'}: text_config lacks bos_token_id or sep_token_id")
    return Blip(
        model=model.to(device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        preprocessing=_read_preprocessing(folder, vision.image_size),
        start_token=text.bos_token_id,
        end_token=text.sep_token_id,
        positions=text.max_position_embeddings,
        revision=revision,
        device=device,
        dtype=dtype,
    )


def _check_files(folder: Path) -> None:
    present = frozenset(path.name for path in folder.iterdir())
    if not _files_to_load(present):
        wanted = (
            ("config.json", "config.json" in present),
            ("a tokenizer (tokenizer.json or vocab.txt)", not present.isdisjoint(_TOKENIZER_FILES)),
            ("weights (model.safetensors)", bool(_files_to_load(present | {"config.json", "vocab.txt"}))),
        )
        missing = ", ".join(what for what, is_present in wanted if not is_present)
        raise ModelUnavailableError(f"{folder}: not a BLIP folder in transformers' format: {missing} missing")
    config = _read_json(folder / "config.json")
    kind, architectures = config.get("model_type"), config.get("architectures")
    if kind != "blip" or (architectures and "BlipForConditionalGeneration" not in architectures):
        raise ModelUnavailableError(
            f"{folder / 'config.json'}: this is {architectures or kind}, not a BLIP that captions "
            "(BlipForConditionalGeneration)"
        )


def _load_model(folder: Path, dtype: torch.dtype) -> Any:
    try:
        with _quiet():
            model, report = BlipForConditionalGeneration.from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True
            )
    except READ_ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelUnavailableError(
            f"{folder}: damaged, or the weights do not fit the configuration ({lines[0][:300]}); fetch the model again"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelUnavailableError(
            f"{folder}: the weights lack {len(missing)} of the model's tensors "
            f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}); fetch the model again"
        )
    return model


def _load_tokenizer(folder: Path, vocabulary: int) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except READ_ERRORS as error:
        raise ModelUnavailableError(f"{folder}: its tokenizer cannot be read ({error})") from error
    if len(tokenizer) > vocabulary:
        raise ModelUnavailableError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, but the model has {vocabulary}: they do not belong together"
        )
    return tokenizer


def _read_preprocessing(folder: Path, model_size: Any) -> ImagePreprocessing:
    """Read preprocessor_config.json, or processor_config.json in newer folders. BLIP's own values are the defaults."""
    facts: dict[str, Any] = {}
    for name, key in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        if (folder / name).is_file():
            content = _read_json(folder / name)
            facts |= content.get(key, {}) if key else content
    size = facts.get("size", model_size)
    sides = {size.get("height"), size.get("width")} if isinstance(size, dict) else {size}
    if isinstance(model_size, (list, tuple)) or sides != {model_size}:
        raise ModelUnavailableError(
            f"{folder}: its images are {size}, but its vision tower takes {model_size} pixels: they do not belong together"
        )
    return ImagePreprocessing(
        size=model_size,
        mean=_triple(facts.get("image_mean", _CLIP_MEAN)),
        std=_triple(facts.get("image_std", _CLIP_STD)),
        resample=Image.Resampling(facts.get("resample", Image.Resampling.BICUBIC)),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"{file}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise ModelUnavailableError(f"{file}: not a JSON object")
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' own bar and table. We show progress, and missing weights become an error."""
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
