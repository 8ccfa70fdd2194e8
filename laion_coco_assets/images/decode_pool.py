"""A pool of processes that decode images. A bomb, a crash or a hang ends one of them, and nothing else."""

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
from laion_coco_assets.images.decode_worker import HEADER, READY, WorkerConfig
from laion_coco_assets.images.inspection import ImageInfo, ImageLimits

logger = logging.getLogger(__name__)

_START_TIMEOUT_S: Final = 120.0
_PROGRAM: Final = "from laion_coco_assets.images.decode_worker import main; main()"


@dataclass(frozen=True, slots=True)
class Inspected:
    """An image within limits, and the SHA-256 of its bytes in hex."""

    info: ImageInfo
    sha256: str


class _CrashedError(Exception):
    """The worker ended instead of responding."""


class DecodePool:
    """Inspects images in up to `workers` processes, each started when first needed and replaced when it dies.

    Belongs to one event loop; `close` ends the processes. Memory per worker is bounded by the largest image that
    `limits` allows: a decoder and its copies take up to 16 bytes per pixel.
    """

    def __init__(self, limits: ImageLimits, *, workers: int, max_bytes: int, timeout_s: int) -> None:
        self._config = WorkerConfig(
            max_pixels=limits.max_pixels,
            min_side=limits.min_side,
            max_aspect_ratio=limits.max_aspect_ratio,
            memory_bytes=(1 << 30) + 16 * limits.max_pixels + 3 * max_bytes,
            timeout_s=timeout_s,
            perceptual_hash=limits.perceptual_hash,
        )
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []

    async def inspect(self, data: bytes) -> Inspected | Rejection:
        """What `inspection.inspect` returns. An image that crashes two workers, or keeps one too long, is a decode_error.

        Raises:
            RuntimeError: a worker does not start.
            UserError: this machine starts no more processes.
        """
        async with self._slots:
            for _ in range(2):  # a worker may also die of this machine's own trouble; the image gets a second one
                try:
                    return await self._inspect_in_worker(data)
                except _CrashedError as error:
                    exit_status = str(error)
                except TimeoutError:
                    return Rejection(Reason.DECODE_ERROR, f"the decoder took over {self._config.timeout_s} s")
            logger.warning("two decoders in a row crashed on the same picture (%s)", exit_status)
            return Rejection(Reason.DECODE_ERROR, f"the decoder crashed ({exit_status})")

    async def _inspect_in_worker(self, data: bytes) -> Inspected | Rejection:
        worker = self._idle.pop() if self._idle else await _Worker.start(self._config)
        try:
            async with asyncio.timeout(self._config.timeout_s):
                response = await worker.request(data)
        except BaseException:
            await worker.end()  # crashed, hanging, or cancelled with a response still to come: of no more use
            raise
        self._idle.append(worker)
        return response

    async def close(self) -> None:
        """Ends all processes. No image may be under way."""
        while self._idle:
            await self._idle.pop().end()


class _Worker:
    """One process and the two pipes to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, config: WorkerConfig) -> "_Worker":
        worker = cls(await _start_process(config))
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                ready = await worker._output.read(1)
        except TimeoutError:  # not this image's: `inspect` would reject it for one
            await worker.end()
            raise RuntimeError(f"a decoding worker did not start within {_START_TIMEOUT_S:.0f} s") from None
        except BaseException:
            await worker.end()
            raise
        if ready != READY:
            await worker.end()
            raise RuntimeError("a decoding worker could not be started; what it printed stands above")
        return worker

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: PIPE was requested
        return self._process.stdout

    async def request(self, data: bytes) -> Inspected | Rejection:
        """Raises _CrashedError when the process dies."""
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - as above
        try:
            pipe.write(HEADER.pack(len(data)))
            pipe.write(data)
            await pipe.drain()
            (length,) = HEADER.unpack(await self._output.readexactly(HEADER.size))
            response = json.loads(await self._output.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self._process.wait()
            raise _CrashedError(f"signal {-code}" if code < 0 else f"exit code {code}") from None
        if "reason" in response:
            return Rejection(Reason(response["reason"]), response["detail"])
        info = ImageInfo(response["format"], response["width"], response["height"], response["perceptual_hash"])
        return Inspected(info, response["sha256"])

    async def end(self) -> None:
        with suppress(ProcessLookupError):  # it may have ended by itself
            self._process.kill()
        await self._process.wait()
        pipe = self._process.stdin
        if pipe is not None:
            pipe.close()
            with suppress(ConnectionError):
                await pipe.wait_closed()
        await self._output.read()  # to its end, so that the loop closes that pipe too


async def _start_process(config: WorkerConfig) -> asyncio.subprocess.Process:
    # A fresh interpreter rather than multiprocessing: it has nothing of the parent's memory, locks or sockets, and the
    # user's script is not imported a second time.
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM,
            json.dumps(asdict(config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
        )
    except OSError as error:  # uvloop loses its errno, so which limit it was is not known
        raise UserError(
            f"this machine cannot start a decoding process ({error}): it may lack files (`ulimit -n`), processes "
            "(`ulimit -u`) or memory; raise the limit, or lower --fetch-concurrency (LAION_COCO_FETCH_CONCURRENCY)"
        ) from None
