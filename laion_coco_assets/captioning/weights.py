"""Loads weights from files into modules. It never runs code from a file, and never leaves a parameter at random."""

import pickle
import zipfile
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from laion_coco_assets.errors import ModelUnavailableError

#: What the libraries raise when they read a damaged model or another file.
READ_ERRORS: Final = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    AssertionError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)
#: OpenAI's own state dicts contain these three numbers besides the weights.
_NO_WEIGHTS: Final = {"input_resolution", "context_length", "vocab_size"}


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, or of a .pt, .pth or .bin file that holds only a state dict.

    Raises:
        ModelUnavailableError: it is damaged, or not a file of weights.
    """
    if _is_torchscript(file):
        raise ModelUnavailableError(
            f"{file}: this is a TorchScript archive, as OpenAI's own server provides, which contains code besides the weights; "
            "use the same weights as .safetensors from the hub instead"
        )
    try:
        content = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except READ_ERRORS as error:
        raise ModelUnavailableError(f"{file}: not weights, or damaged ({_brief(error)}); fetch it again") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(key, str) for key in content):
        raise ModelUnavailableError(f"{file}: holds no state dict (names and their tensors)")
    weights = {
        key.removeprefix("module."): value
        for key, value in content.items()
        if isinstance(value, torch.Tensor) and key not in _NO_WEIGHTS
    }
    if not weights:
        raise ModelUnavailableError(f"{file}: holds no tensors")
    return weights


def load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], file: Path, architecture: str) -> None:
    """Copy weights into a module. Both must have the same tensors.

    Raises:
        ModelUnavailableError: tensors are missing, unknown or of another shape; the message names them.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    reshaped = sorted(key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape)
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unknown", unexpected), ("of another shape", reshaped))
        if keys
    ]
    if problems:
        raise ModelUnavailableError(
            f"{file}: these are not the weights of {architecture}: of {len(own)} tensors, {'; '.join(problems)}"
        )
    module.load_state_dict(weights)


def _is_torchscript(file: Path) -> bool:
    """Whether a file is a TorchScript archive: by the names in it, before anything is unpickled."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _brief(error: BaseException) -> str:
    """An error's first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
