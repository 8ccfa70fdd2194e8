"""A few processes that decode, and that a bomb, a crash or a hang can take down without taking anything with it."""

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from laion_coco_assets.contract.reasons import Reason, Rejection
from laion_coco_assets.errors import UserError
from laion_coco_assets.images.decode import ImageInfo, ImageLimits
from laion_coco_assets.images.decode_worker import HEADER, READY, Orders

logger = logging.getLogger(__name__)

_START_DEADLINE_S: Final = 120.0
_PROGRAM: Final = "from laion_coco_assets.images.decode_worker import main; main()"


@dataclass(frozen=True, slots=True)
class Judged:
    """A picture within limits, and the SHA-256 of its bytes in hex."""

    info: ImageInfo
    sha256: str


class _CrashedError(Exception):
    """The worker went away instead of answering."""


class DecodeWorkers:
    """Judges pictures in up to `count` processes, each started when first needed and replaced when it dies.

    Belongs to one event loop; `close` ends the processes. Memory per worker is bounded by the largest picture that
    `limits` lets through: a decoder and its copies take up to 16 bytes a pixel.
    """

    def __init__(self, limits: ImageLimits, *, count: int, max_bytes: int, deadline_s: int) -> None:
        self._orders = Orders(
            max_pixels=limits.max_pixels,
            min_side=limits.min_side,
            max_aspect_ratio=limits.max_aspect_ratio,
            memory_bytes=(1 << 30) + 16 * limits.max_pixels + 3 * max_bytes,
            deadline_s=deadline_s,
            perceptual_hash=limits.perceptual_hash,
        )
        self._slots = asyncio.Semaphore(count)
        self._idle: list[_Worker] = []

    async def judge(self, data: bytes) -> Judged | Rejection:
        """`decode.inspect`'s verdict. A picture that crashes two workers, or keeps one too long, is a decode_error.

        Raises RuntimeError when no worker comes up, UserError when the machine starts no process: that is no picture's
        fault.
        """
        async with self._slots:
            for _ in range(2):  # a worker may also die of the machine's own trouble; the picture gets a second one
                try:
                    return await self._ask_one(data)
                except _CrashedError as error:
                    how = str(error)
                except TimeoutError:
                    return Rejection(Reason.DECODE_ERROR, f"the decoder took over {self._orders.deadline_s} s")
            logger.warning("two decoders in a row crashed on the same picture (%s)", how)
            return Rejection(Reason.DECODE_ERROR, f"the decoder crashed ({how})")

    async def _ask_one(self, data: bytes) -> Judged | Rejection:
        worker = self._idle.pop() if self._idle else await _Worker.start(self._orders)
        try:
            async with asyncio.timeout(self._orders.deadline_s):
                answer = await worker.ask(data)
        except BaseException:
            await worker.end()  # crashed, hanging, or cancelled with an answer still to come: of no more use
            raise
        self._idle.append(worker)
        return answer

    async def close(self) -> None:
        """End all processes. Nothing may be in flight."""
        while self._idle:
            await self._idle.pop().end()


class _Worker:
    """One process and the two pipes to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, orders: Orders) -> "_Worker":
        # A fresh interpreter rather than multiprocessing: nothing of the parent's memory, locks or sockets is in it,
        # and no script of the user's is imported a second time.
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _PROGRAM,
                json.dumps(asdict(orders)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:  # its number says little: uvloop loses it
            raise UserError(
                f"this machine can not start a decoding process ({error}): it may lack files (`ulimit -n`), processes "
                "(`ulimit -u`) or memory; raise the limit, or lower --fetch-concurrency (LAION_COCO_FETCH_CONCURRENCY)"
            ) from None
        worker = cls(process)
        try:
            async with asyncio.timeout(_START_DEADLINE_S):
                ready = await worker._output.read(1)
        except TimeoutError:  # no picture's, which `judge` would take it for
            await worker.end()
            raise RuntimeError(f"a decoding worker did not start within {_START_DEADLINE_S:.0f} s") from None
        except BaseException:
            await worker.end()
            raise
        if ready != READY:
            await worker.end()
            raise RuntimeError("a decoding worker could not be started; what it printed stands above")
        return worker

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        return self._process.stdout

    async def ask(self, data: bytes) -> Judged | Rejection:
        """Raises _CrashedError when the process dies."""
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - as above
        try:
            pipe.write(HEADER.pack(len(data)))
            pipe.write(data)
            await pipe.drain()
            (length,) = HEADER.unpack(await self._output.readexactly(HEADER.size))
            answer = json.loads(await self._output.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self._process.wait()
            raise _CrashedError(f"signal {-code}" if code < 0 else f"exit code {code}") from None
        if "reason" in answer:
            return Rejection(Reason(answer["reason"]), answer["detail"])
        info = ImageInfo(answer["format"], answer["width"], answer["height"], answer["perceptual_hash"])
        return Judged(info, answer["sha256"])

    async def end(self) -> None:
        with suppress(ProcessLookupError):  # it may have gone by itself
            self._process.kill()
        await self._process.wait()
        pipe = self._process.stdin
        if pipe is not None:
            pipe.close()
            with suppress(ConnectionError):
                await pipe.wait_closed()
        await self._output.read()  # to its end, so that the loop closes that pipe too
