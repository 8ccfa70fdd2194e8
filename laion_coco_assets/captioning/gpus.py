"""Chooses one of several NVIDIA GPUs for a process: one with free memory that no other process of this package uses."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import torch

_NVIDIA_SMI_SECONDS: Final = 20


@cache
def choose_gpu() -> int:
    """The number of the GPU to use, the same for the life of the process: the first of `rank` that it can `claim`.

    Free memory comes from nvidia-smi: asking CUDA would take some hundred megabytes of every GPU. Without nvidia-smi, or
    under MIG, the driver's order decides.
    """
    count = torch.cuda.device_count()
    if count == 1:
        return 0
    uuids = [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]
    ranked = rank(uuids, parse_free_memory(_ask_nvidia_smi()))
    for number in ranked:
        if claim(uuids[number], Path(tempfile.gettempdir())):
            return number
    return ranked[0]


def rank(uuids: Sequence[str], free: Mapping[str, int]) -> list[int]:
    """The numbers of the GPUs, most free memory first. Ties keep their order."""
    return sorted(range(len(uuids)), key=lambda number: -free.get(uuids[number], 0))


def parse_free_memory(text: str) -> dict[str, int]:
    """MiB by UUID, from lines such as `GPU-0f3c…, 80512`. Other lines are ignored."""
    free = {}
    for line in text.splitlines():
        name, _, size = line.partition(",")
        if size.strip().isdecimal():
            free[name.strip().removeprefix("GPU-")] = int(size)
    return free


def claim(uuid: str, folder: Path) -> bool:
    """Take a GPU for the life of this process, unless another process of this user has it. True if nobody can know.

    Needed because two processes that start together see the same free memory: neither has loaded anything yet.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    user = os.getuid()
    try:
        file = os.open(folder / f"laion-coco-{user}-gpu-{uuid}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until the process ends: `file` stays open
    except OSError:
        os.close(file)
        return False
    return True


def _ask_nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=uuid,memory.free", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603  # the driver's program, with fixed arguments
            command, capture_output=True, text=True, check=False, timeout=_NVIDIA_SMI_SECONDS
        ).stdout
    return ""
