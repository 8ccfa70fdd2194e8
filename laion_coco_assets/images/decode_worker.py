"""The process that decodes images of unknown origin: reads images from stdin, writes results to stdout, one at a time.

`decode_pool` starts it. It limits its own memory and, through SIGALRM, its own time, so that neither a bomb nor a
hanging decoder outlives it, even when its parent is gone.
"""

import hashlib
import json
import os
import signal
import struct
import sys
from dataclasses import dataclass
from typing import BinaryIO, Final

from laion_coco_assets.images.inspection import ImageInfo, inspect

HEADER: Final = struct.Struct("<Q")
READY: Final = b"\x06"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker gets at its start, as JSON in its first argument."""

    max_pixels: int
    min_side: int
    max_aspect_ratio: float
    memory_bytes: int
    timeout_s: int
    perceptual_hash: bool = False


def main() -> None:
    """Serves until stdin closes."""
    config = WorkerConfig(**json.loads(sys.argv[1]))
    responses = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as null:  # noqa: PTH123 - descriptors, so that no library's output joins the responses
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent ends its workers
    _limit_memory(config.memory_bytes)
    responses.write(READY)
    responses.flush()
    _serve(sys.stdin.buffer, responses, config)


def _serve(requests: BinaryIO, responses: BinaryIO, config: WorkerConfig) -> None:
    while header := requests.read(HEADER.size):
        (length,) = HEADER.unpack(header)
        if hasattr(signal, "alarm"):
            signal.alarm(config.timeout_s + 1)
        response = json.dumps(_response(requests.read(length), config)).encode()
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        responses.write(HEADER.pack(len(response)) + response)
        responses.flush()


def _response(data: bytes, config: WorkerConfig) -> dict[str, str | int | None]:
    result = inspect(data, config)
    if isinstance(result, ImageInfo):
        return {
            "format": result.format,
            "width": result.width,
            "height": result.height,
            "sha256": hashlib.sha256(data).hexdigest(),
            "perceptual_hash": result.perceptual_hash,
        }
    return {"reason": result.reason.value, "detail": result.detail}


def _limit_memory(limit_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
