"""Loads CLIPs from a hub repository that open_clip names, from a folder in open_clip's format, or from a weights file."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.transform import PreprocessCfg, image_transform_v2

from laion_coco_assets.captioning.hub import HubModel, gigabytes
from laion_coco_assets.captioning.weights import READ_ERRORS, load_weights, read_weights
from laion_coco_assets.contract.fingerprint import content_digest
from laion_coco_assets.contract.profile import RankerSource
from laion_coco_assets.errors import ModelUnavailableError

_SETTING: Final = "rank.model.path or final.model.path"
_CONFIG: Final = "open_clip_config.json"
_PRECISIONS: Final = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_SUFFIXES: Final = (".safetensors", ".bin", ".pt", ".pth")
#: The files that hold the whole model, best first. In timm's repositories, model.safetensors is only the image tower.
_PREFERRED: Final = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
)


@dataclass(frozen=True)
class Clip:
    """A CLIP, ready to score. Its revision names what was loaded."""

    model: Any  # open_clip's CLIP or CustomTextCLIP, in eval mode
    tokenizer: Callable[[list[str]], torch.Tensor]  # texts to int64 [texts, context]
    preprocess: Callable[[Any], torch.Tensor]  # an image to float32 [3, height, width]
    revision: str
    device: torch.device
    dtype: torch.dtype


def load_clip(source: RankerSource, device: torch.device, dtype: torch.dtype, setting: str = _SETTING) -> Clip:
    """Load a CLIP. With `source.path`, no network is used.

    Args:
        source: open_clip's name and tag, and the path of a local copy if one exists.
        device: where it will run.
        dtype: what it computes in. Layer norms and batch norms stay float32, as in open_clip.
        setting: the profile's key for a local copy, for error messages.

    Raises:
        ModelUnavailableError: it is not available, is damaged, or is another model.
    """
    if source.path is None:
        _check_name(source)
        file = _fetch(source, setting)
        return _build(source, source.name, file, revision=file.parent.name, device=device, dtype=dtype)
    revision = f"local:{content_digest(source.path)}"
    if source.path.is_file():
        _check_name(source)
        return _build(source, source.name, source.path, revision=revision, device=device, dtype=dtype)
    if not source.path.is_dir():
        raise ModelUnavailableError(f"{setting}: {source.path} does not exist")
    file = _weights_in(source.path)
    return _build(source, f"local-dir:{source.path}", file, revision=revision, device=device, dtype=dtype)


def _check_name(source: RankerSource) -> None:
    if open_clip.get_model_config(source.name) is None:
        raise ModelUnavailableError(
            f"{source.name!r} is no architecture that open_clip {open_clip.__version__} knows; "
            "use a name from open_clip.list_models(), with its dashes"
        )


def _fetch(source: RankerSource, setting: str) -> Path:
    """The weights file in the hub's cache."""
    facts = get_pretrained_cfg(source.name, source.pretrained)
    if not facts:
        tags = ", ".join(list_pretrained_tags_by_model(source.name)) or "none"
        raise ModelUnavailableError(
            f"open_clip knows no weights {source.pretrained!r} for {source.name}; its tags are: {tags}"
        )
    repo, _, name = facts.get("hf_hub", "").rpartition("/")
    if not repo:
        raise ModelUnavailableError(
            f"{source.name} {source.pretrained} is not on the hub; download {facts.get('url')} and name the file "
            f"with {setting} in the profile"
        )
    names = (f"{Path(name).stem}.safetensors", name) if name else _PREFERRED[:4]
    model = HubModel(
        repo=repo,
        revision=source.revision,
        choose=lambda present: [name for name in names if name in present][:1],
        size=gigabytes(_count_parameters(source.name)),
        include=names[:1],
        setting=setting,
    )
    folder = model.fetch()
    return next(folder / name for name in names if (folder / name).exists())


def _count_parameters(name: str) -> int | None:
    """How many parameters an architecture has, without building it. None when its towers come from another library."""
    config = open_clip.get_model_config(name)
    config.pop("custom_text", None)
    if "hf_model_name" in config["text_cfg"] or "timm_model_name" in config["vision_cfg"] or "multimodal_cfg" in config:
        return None
    with torch.device("meta"):
        return sum(int(parameter.numel()) for parameter in open_clip.CLIP(**config).parameters())


def _weights_in(folder: Path) -> Path:
    if not (folder / _CONFIG).is_file():
        raise ModelUnavailableError(
            f"{folder}: no {_CONFIG} in it, so it is not a folder in open_clip's format; "
            "if it holds the weights of a known architecture, name the weights file itself"
        )
    present = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    for name in (*_PREFERRED, *present):
        if name in present:
            return folder / name
    raise ModelUnavailableError(f"{folder}: no weights in it (open_clip_model.safetensors)")


def _build(
    source: RankerSource, architecture: str, file: Path, *, revision: str, device: torch.device, dtype: torch.dtype
) -> Clip:
    try:
        with _quiet():
            model = open_clip.create_model(
                architecture,
                load_weights=False,
                precision=_PRECISIONS[dtype],
                force_quick_gelu=_trained_with_quick_gelu(source),
                force_preprocess_cfg=None if architecture.startswith("local-dir:") else _preprocessing(source),
                pretrained_text=False,
            )
            tokenizer = open_clip.get_tokenizer(architecture)
    except READ_ERRORS as error:
        raise ModelUnavailableError(f"{file.parent}: open_clip cannot build this model ({error})") from error
    load_weights(model, _in_own_names(model, read_weights(file)), file, _describe(source, architecture))
    return Clip(
        model=model.to(device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        preprocess=image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False),
        revision=revision,
        device=device,
        dtype=dtype,
    )


def _trained_with_quick_gelu(source: RankerSource) -> bool:
    """What open_clip's table says about the tag. The tag `openai` always means quick GELU, also for other architectures."""
    facts = get_pretrained_cfg(source.name, source.pretrained)
    return bool(facts.get("quick_gelu", False)) if facts else source.pretrained == "openai"


def _preprocessing(source: RankerSource) -> dict[str, Any]:
    facts = get_pretrained_cfg(source.name, source.pretrained)
    return {key: facts[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in facts}


def _in_own_names(model: Any, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under this model's names. Other releases' conventions are converted as open_clip's own loading does."""
    weights = convert_state_dict(model, weights)
    if "positional_embedding" in weights and not hasattr(model, "positional_embedding"):
        weights = convert_to_custom_text_state_dict(weights)
    if "logit_scale" in weights:
        weights["logit_scale"] = weights["logit_scale"].reshape(model.logit_scale.shape)
    weights.pop("text.transformer.embeddings.position_ids", None)
    return weights


def _describe(source: RankerSource, architecture: str) -> str:
    if architecture == source.name:
        return f"open_clip's {source.name}"
    return f"the architecture in {_CONFIG}"


class _NotRandom(logging.Filter):
    """Drops open_clip's warning that a model is random. Its weights are loaded right after."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "No pretrained weights loaded" not in record.getMessage()


@contextmanager
def _quiet() -> Iterator[None]:
    root, only_news = logging.getLogger(), _NotRandom()
    root.addFilter(only_news)
    try:
        yield
    finally:
        root.removeFilter(only_news)
