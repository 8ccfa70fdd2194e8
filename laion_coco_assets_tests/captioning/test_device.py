"""Devices and dtypes come from the deployment's settings, and what this machine lacks is one clear error."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from laion_coco_assets.captioning.device import in_words, resolve_device, resolve_dtype
from laion_coco_assets.captioning.gpus import claim, parse_free_memory, rank
from laion_coco_assets.errors import DeviceError
from laion_coco_assets.resources.models_resource import ModelsResource


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


def test_of_several_gpus_the_one_with_most_free_memory_comes_first() -> None:
    said = "GPU-aa, 1024\nGPU-bb, 80512\nGPU-cc, 80512\nGPU-dd, [N/A]\nNVIDIA-SMI has failed\n"
    free = parse_free_memory(said)
    assert free == {"aa": 1024, "bb": 80512, "cc": 80512}
    assert rank(["aa", "bb", "cc", "dd"], free) == [1, 2, 0, 3]
    assert rank(["aa", "bb"], parse_free_memory("")) == [0, 1], "without nvidia-smi in the driver's order"


def test_a_gpu_is_one_process_own_until_that_ends(tmp_path: Path) -> None:
    hold = f"from laion_coco_assets.captioning.gpus import claim; from pathlib import Path; print(claim('aa', Path({str(tmp_path)!r})), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not claim("aa", tmp_path)
        assert claim("bb", tmp_path)
        other.communicate("\n", timeout=60)
    assert claim("aa", tmp_path)
    assert claim("aa", tmp_path / "none"), "where it can not be told it is no hindrance"


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_processes_take_two_gpus() -> None:
    ask = "from laion_coco_assets.captioning.device import resolve_device; print(resolve_device('auto'), flush=True); input()"
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", ask], stdin=-1, stdout=-1, text=True))
            for _ in range(2)
        ]
        chosen = {each.stdout.readline() for each in both if each.stdout is not None}
        for each in both:
            each.communicate("\n", timeout=60)
    assert len(chosen) == 2


def test_gpus_of_one_kind_have_one_name_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_words(torch.device("cpu"), torch.float32) == "cpu float32"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")  # also where there is none
    names = {in_words(torch.device("cuda", number), torch.bfloat16) for number in range(4)}
    assert names == {"NVIDIA H200 bfloat16"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_on_record_by_its_name() -> None:
    said = ModelsResource(device="cuda", dtype="float32").where()
    assert said == f"{torch.cuda.get_device_name()} float32"
    assert "cuda" not in said


@pytest.mark.parametrize("name", ["auto", "float32"])
def test_float32_is_float32_in_a_gpus_convolutions_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)
    resolve_dtype("bfloat16", torch.device("cpu"))
    assert torch.backends.cudnn.allow_tf32
    resolve_dtype(name, torch.device("cpu"))
    assert not torch.backends.cudnn.allow_tf32


def test_dtypes() -> None:
    cpu = torch.device("cpu")
    names = ["auto", "float32", "bfloat16", "float16"]
    expected = [torch.float32, torch.float32, torch.bfloat16, torch.float16]
    assert [resolve_dtype(name, cpu) for name in names] == expected
    with pytest.raises(DeviceError, match=r"LAION_COCO_DTYPE / --dtype is 'fp16'"):
        resolve_dtype("fp16", cpu)
