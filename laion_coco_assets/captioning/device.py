"""Where the models run, and in which precision. The deployment decides this, never the profile."""

from typing import Final

import torch

from laion_coco_assets.captioning.gpus import choose_gpu
from laion_coco_assets.errors import DeviceError

_DEVICE_SETTING: Final = "LAION_COCO_DEVICE / --device"
_DTYPE_SETTING: Final = "LAION_COCO_DTYPE / --dtype"
_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """The device of a setting's value: `auto` (CUDA, else MPS, else CPU), `cpu`, `mps`, `cuda` or `cuda:1`.

    With several GPUs, `auto` and `cuda` take one with free memory; see `gpus`.

    Raises:
        DeviceError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", choose_gpu())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, colon, index = name.partition(":")
    if kind not in {"cpu", "mps", "cuda"} or (colon and not (kind == "cuda" and index.isdecimal())):
        raise DeviceError(f"{_DEVICE_SETTING} is {name!r}: not one of auto, cpu, mps, cuda, cuda:0, cuda:1, …")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"{_DEVICE_SETTING} is {name!r}, but torch {torch.__version__} finds no MPS here; {_AUTO}")
    if kind != "cuda":
        return torch.device(kind)
    if not torch.cuda.is_available():
        raise DeviceError(
            f"{_DEVICE_SETTING} is {name!r}, but torch {torch.__version__} finds no CUDA device here "
            f"(is the driver installed, and is this a CUDA build of torch?); {_AUTO}"
        )
    number = int(index) if colon else choose_gpu()
    if number >= torch.cuda.device_count():
        raise DeviceError(f"{_DEVICE_SETTING} is {name!r}, but this machine has {torch.cuda.device_count()} of them")
    return torch.device("cuda", number)


_AUTO: Final = "set it to auto to use the best device that is available"


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of a setting's value on a device: `auto` (float32), `float32`, `bfloat16` or `float16`.

    With float32, the whole process computes in float32, including a GPU's convolutions.

    Raises:
        DeviceError: the name is unknown, or the device cannot compute in it.
    """
    if name not in {"auto", *_DTYPES}:
        raise DeviceError(f"{_DTYPE_SETTING} is {name!r}: not one of auto, {', '.join(_DTYPES)}")
    if name == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DeviceError(f"{_DTYPE_SETTING} is {name!r}, which {device} cannot compute in; use float16 or float32")
    dtype = _DTYPES["float32" if name == "auto" else name]
    if dtype == torch.float32:  # cuDNN would compute convolutions in TF32, which has float16's precision
        torch.backends.cudnn.allow_tf32 = False
    return dtype


def in_words(device: torch.device, dtype: torch.dtype) -> str:
    """Device and precision as stage files record them, since results may depend on them: `NVIDIA H200 bfloat16`.

    The number of a GPU is left out: each process takes a free one, and GPUs of one kind give the same results.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name} {str(dtype).removeprefix('torch.')}"
