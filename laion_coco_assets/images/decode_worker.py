"""The process that decodes what strangers sent: reads pictures from stdin, answers verdicts on stdout, one at a time.

Started by `workers`, never by hand. It limits its own memory and, through SIGALRM, its own time, so that neither a
bomb nor a hanging decoder outlives it even when its parent is gone.
"""

import hashlib
import json
import os
import signal
import struct
import sys
from dataclasses import dataclass
from typing import BinaryIO, Final

from laion_coco_assets.images.decode import ImageInfo, inspect

HEADER: Final = struct.Struct("<Q")
READY: Final = b"\x06"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told once, as JSON in its first argument."""

    max_pixels: int
    min_side: int
    max_aspect_ratio: float
    memory_bytes: int
    deadline_s: int
    perceptual_hash: bool = False


def main() -> None:
    """Serve until stdin closes."""
    orders = Orders(**json.loads(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123 - descriptors, so that no library's chatter joins the answers
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent ends its workers
    _limit_memory(orders.memory_bytes)
    answers.write(READY)
    answers.flush()
    _serve(sys.stdin.buffer, answers, orders)


def _serve(questions: BinaryIO, answers: BinaryIO, orders: Orders) -> None:
    while header := questions.read(HEADER.size):
        (length,) = HEADER.unpack(header)
        if hasattr(signal, "alarm"):
            signal.alarm(orders.deadline_s + 1)
        answer = json.dumps(_judge(questions.read(length), orders)).encode()
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        answers.write(HEADER.pack(len(answer)) + answer)
        answers.flush()


def _judge(data: bytes, orders: Orders) -> dict[str, str | int | None]:
    verdict = inspect(data, orders)
    if isinstance(verdict, ImageInfo):
        return {
            "format": verdict.format,
            "width": verdict.width,
            "height": verdict.height,
            "sha256": hashlib.sha256(data).hexdigest(),
            "perceptual_hash": verdict.perceptual_hash,
        }
    return {"reason": verdict.reason.value, "detail": verdict.detail}


def _limit_memory(limit_bytes: int) -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
