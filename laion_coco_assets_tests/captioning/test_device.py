"""Devices and dtypes come from the deployment's settings, and what this machine lacks is one clear error."""

import pytest
import torch

from laion_coco_assets.captioning.device import resolve_device, resolve_dtype
from laion_coco_assets.errors import DeviceError


def test_auto_takes_the_best_there_is() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == best
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:one", "cpu:0", "mps:1", "cuda:-1", "CUDA"])
def test_an_unknown_device_names_the_setting(name: str) -> None:
    with pytest.raises(DeviceError, match=r"LAION_COCO_DEVICE / --device"):
        resolve_device(name)


def test_a_device_this_machine_lacks_names_the_setting() -> None:
    lacking = "cuda:99" if torch.cuda.is_available() else "cuda"
    with pytest.raises(DeviceError, match=r"LAION_COCO_DEVICE / --device.*this machine has|finds no CUDA device"):
        resolve_device(lacking)


def test_dtypes() -> None:
    cpu = torch.device("cpu")
    names = ["auto", "float32", "bfloat16", "float16"]
    expected = [torch.float32, torch.float32, torch.bfloat16, torch.float16]
    assert [resolve_dtype(name, cpu) for name in names] == expected
    with pytest.raises(DeviceError, match=r"LAION_COCO_DTYPE / --dtype is 'fp16'"):
        resolve_dtype("fp16", cpu)
