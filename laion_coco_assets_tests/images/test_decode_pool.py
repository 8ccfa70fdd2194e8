"""Workers may hang, crash or run out of memory: one picture is lost at most, and the next one is inspected as usual."""

import asyncio
import hashlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from laion_coco_assets.contract.reasons import Reason, Rejection
from laion_coco_assets.images.decode_pool import DecodePool, Inspected
from laion_coco_assets.images.inspection import ImageInfo
from laion_coco_assets_tests.images import pictures

GOOD = Inspected(ImageInfo("JPEG", 64, 48), hashlib.sha256(pictures.JPEG).hexdigest())

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def small_pool(count: int = 1, timeout_s: int = 60) -> DecodePool:
    return DecodePool(pictures.settings(), workers=count, max_bytes=1_000_000, timeout_s=timeout_s)


def pid(pool: DecodePool) -> int:
    (worker,) = pool._idle
    return worker._process.pid


def address_space(process: int) -> int:
    (pages,) = Path(f"/proc/{process}/statm").read_text().split()[:1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_results_are_those_of_inspect():
    async def scenario() -> None:
        pool = small_pool(count=2)
        try:
            results = await asyncio.gather(*(pool.inspect(data) for data in [pictures.JPEG, b"", pictures.BOMB] * 10))
        finally:
            await pool.close()
        assert results[::3] == [GOOD] * 10
        assert {result.reason for result in results[1::3]} == {Reason.NOT_AN_IMAGE}
        assert {result.reason for result in results[2::3]} == {Reason.BOMB}

    asyncio.run(scenario())


def test_a_worker_that_was_killed_is_replaced_and_its_picture_inspected_all_the_same():
    async def scenario() -> None:
        pool = small_pool()
        try:
            assert await pool.inspect(pictures.JPEG) == GOOD
            first = pid(pool)
            os.kill(first, signal.SIGKILL)
            assert await pool.inspect(pictures.JPEG) == GOOD
            assert pid(pool) != first
        finally:
            await pool.close()

    asyncio.run(scenario())


def test_a_worker_that_hangs_is_ended_at_the_deadline():
    async def scenario() -> None:
        pool = small_pool(timeout_s=1)
        try:
            await pool.inspect(pictures.JPEG)
            hanging = pid(pool)
            os.kill(hanging, signal.SIGSTOP)
            result = await pool.inspect(pictures.JPEG)
            assert result == Rejection(Reason.DECODE_ERROR, "the decoder took over 1 s")
            with pytest.raises(ProcessLookupError):
                os.kill(hanging, 0)
        finally:
            await pool.close()

    asyncio.run(scenario())


def test_memory_is_bounded():
    async def scenario() -> None:
        pool = small_pool()
        try:
            await pool.inspect(pictures.JPEG)
            limit = next(
                int(line.split()[3])
                for line in open(f"/proc/{pid(pool)}/limits")  # noqa: ASYNC230, PTH123, SIM115
                if line.startswith("Max address space")
            )
        finally:
            await pool.close()
        assert limit <= 2 << 30

    if not os.path.exists("/proc/self/limits"):  # noqa: PTH110
        pytest.skip("limits are read from Linux's /proc")
    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to RLIMIT_AS")
def test_a_picture_that_eats_a_workers_memory_is_a_bomb_and_the_next_one_is_inspected():
    """Many pixels in few bytes, let through by the profile, against a limit that they do not fit into."""
    hog = pictures.encoded(Image.new("L", (12_000, 12_000)), "PNG")
    limits = pictures.settings(max_pixels=1 << 28)

    async def scenario() -> None:
        pool = DecodePool(limits, workers=1, max_bytes=1_000_000, timeout_s=60)
        pool._config = replace(pool._config, memory_bytes=600 << 20)
        try:
            assert await pool.inspect(pictures.JPEG) == GOOD
            process = pid(pool)
            before = address_space(process)
            pool._config = replace(pool._config, memory_bytes=before + (64 << 20))
            os.kill(process, signal.SIGKILL)  # the next worker gets the tighter limit
            results = [await pool.inspect(data) for data in (hog, pictures.JPEG, hog, pictures.JPEG)]
        finally:
            await pool.close()
        assert [result if isinstance(result, Inspected) else result.reason for result in results] == [
            Reason.BOMB,
            GOOD,
        ] * 2

    asyncio.run(scenario())


def test_a_picture_that_crashes_every_decoder_is_a_decode_error_and_the_next_one_is_inspected(
    monkeypatch: pytest.MonkeyPatch,
):
    crashing = (
        "import os\n"
        "from laion_coco_assets.images import decode_worker\n"
        "inspect = decode_worker.inspect\n"
        "decode_worker.inspect = lambda data, limits: os.abort() if b'evil' in data else inspect(data, limits)\n"
        "decode_worker.main()\n"
    )
    monkeypatch.setattr("laion_coco_assets.images.decode_pool._PROGRAM", crashing)

    async def scenario() -> None:
        pool = small_pool(count=2)
        try:
            results = await asyncio.gather(*(pool.inspect(data) for data in [pictures.JPEG, b"evil"] * 4))
        finally:
            await pool.close()
        assert results[::2] == [GOOD] * 4
        assert (
            results[1::2]
            == [Rejection(Reason.DECODE_ERROR, f"the decoder crashed (signal {signal.SIGABRT.value})")] * 4
        )

    asyncio.run(scenario())


def test_a_worker_that_does_not_start_is_no_pictures_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("laion_coco_assets.images.decode_pool._PROGRAM", "import sys; sys.stdin.read()")
    monkeypatch.setattr("laion_coco_assets.images.decode_pool._START_TIMEOUT_S", 0.1)

    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="did not start within"):
            await small_pool().inspect(pictures.JPEG)

    asyncio.run(scenario())


def test_cancelling_ends_the_worker_that_was_asked():
    async def scenario() -> None:
        pool = small_pool()
        await pool.inspect(pictures.JPEG)
        hanging = pid(pool)
        os.kill(hanging, signal.SIGSTOP)
        request = asyncio.create_task(pool.inspect(pictures.JPEG))
        while pool._idle:  # noqa: ASYNC110 - until it was taken: turns of the loop, no waiting
            await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        with pytest.raises(ProcessLookupError):
            os.kill(hanging, 0)
        await pool.close()

    asyncio.run(scenario())
