"""Several processes that fetch, each host with one of them, so that manners towards a host are kept in one place."""

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.contract.reasons import Reason, RejectedError
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.lane_worker import HEADER, READY
from laion_coco_assets.fetching.outcome import Fetched
from laion_coco_assets.fetching.pulse import Pulse
from laion_coco_assets.fetching.urls import check_url

logger = logging.getLogger(__name__)

#: Ctrl-C reaches the whole terminal, and from the first moment; the parent ends its lanes.
_PROGRAM: Final = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from laion_coco_assets.fetching.lane_worker import main; main()"
)
_READ_BYTES: Final = 4 << 20
_START_DEADLINE_S: Final = 120.0
#: Of one lane, before it is given up: what kills it so often is no accident. Forgotten after so many answers: what
#: befalls it once a day is one.
_DEATHS: Final = 3
_ANSWERS_TO_FORGET_DEATHS: Final = 10_000
_CANCEL_S: Final = 30.0

_Question = tuple[str, int, int, str | None]


class Lanes:
    """`deployment.lanes` processes, started when first needed. Belongs to one event loop."""

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment) -> None:
        self._lanes = [_Lane(number, settings, deployment.lane()) for number in range(deployment.lanes)]
        self._calls = 0

    def call(self) -> "LaneCall":
        """For the rows of one `fetch`."""
        self._calls += 1
        return LaneCall(self._calls, self._lanes)

    async def close(self) -> None:
        """Ends the processes. Rows that wait for them are cancelled."""
        for lane in self._lanes:
            await lane.close()


class LaneCall:
    """As `outcome.Outcomes`, elsewhere."""

    def __init__(self, call: int, lanes: "list[_Lane]") -> None:
        self._call = call
        self._lanes = lanes

    def advance(self, row: int) -> None:
        """Rows up to `row` were given back."""
        for lane in self._lanes:
            lane.advance(self._call, row)

    def end(self) -> None:
        """No more rows come."""
        for lane in self._lanes:
            lane.end(self._call)

    def drop(self, row: int) -> None:
        """Nothing is held here."""

    async def fetch(self, row: int, text: str | None) -> Fetched:
        """What the URL leads to.

        Raises RuntimeError if the host's lane dies again and again, a silent one being killed, or can not do its work;
        UserError if that is for the user to change.
        """
        try:
            host = check_url(text).raw_host or ""
        except RejectedError as error:
            return Fetched(error.rejection.reason, error.rejection.detail)
        return await self._lanes[crc32(host.encode()) % len(self._lanes)].fetch(self._call, row, text)


@dataclass(slots=True)
class _Asked:
    url: str | None
    answer: asyncio.Future[Fetched]
    cancelled: bool = False


class _Lane:
    """One process: what it was asked and has not answered is asked of its successor when it dies."""

    def __init__(self, number: int, settings: FetchSettings, deployment: FetchDeployment) -> None:
        self._number = number
        self._orders = json.dumps([settings.model_dump(mode="json"), deployment.model_dump(mode="json")])
        self._waiting: dict[tuple[int, int], _Asked] = {}
        self._given_back: dict[int, int] = {}
        self._process: asyncio.subprocess.Process | None = None  # while it is ready for questions
        self._life: asyncio.Task[None] | None = None
        self._deaths = 0
        self._answers = 0  # since the last death

    async def fetch(self, call: int, row: int, url: str | None) -> Fetched:
        answer: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        self._waiting[call, row] = asked = _Asked(url, answer)
        if self._life is None:
            self._life = asyncio.get_running_loop().create_task(self._live())
        else:
            self._ask("fetch", call, row, url)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # Without a process nothing is under way; one that dies meanwhile answers by that.
            if not answer.done() and self._ask("cancel", call, row):
                asked.cancelled = True
                await asyncio.wait([answer], timeout=_CANCEL_S)
            raise
        finally:
            self._waiting.pop((call, row), None)
            answer.cancel()

    def advance(self, call: int, row: int) -> None:
        self._given_back[call] = row
        self._ask("advance", call, row)

    def end(self, call: int) -> None:
        self._given_back.pop(call, None)
        self._ask("end", call, 0)

    async def close(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
            self._life = None

    def _ask(self, what: str, call: int, row: int, url: str | None = None) -> bool:
        """Whether there is a process to ask. If not, the next one is asked for all rows that wait."""
        pipe = None if self._process is None else self._process.stdin
        if pipe is None or pipe.is_closing():
            return False
        question: _Question = (what, call, row, url)
        pipe.write(json.dumps(question).encode() + b"\n")
        return True

    async def _live(self) -> None:
        try:
            while True:
                how = await self._one_life()
                self._deaths = 1 if self._answers >= _ANSWERS_TO_FORGET_DEATHS else self._deaths + 1
                self._answers = 0
                for asked in self._waiting.values():
                    if asked.cancelled:
                        asked.answer.cancel()
                said = f"fetching process {self._number} died ({how})"
                if self._deaths > _DEATHS:
                    raise RuntimeError(  # noqa: TRY301 - told to all that wait
                        f"{said} for the {self._deaths}th time. The same command goes on where it was; if this happens "
                        "again, fetch in one process: --fetch-lanes 1 (LAION_COCO_FETCH_LANES)"
                    )
                logger.warning("%s: its %d rows start over in another", said, len(self._waiting))
        except asyncio.CancelledError:
            self._end_waiting(None)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            self._end_waiting(error)
        finally:
            self._life = None

    def _end_waiting(self, error: Exception | None) -> None:
        for asked in list(self._waiting.values()):
            if not asked.answer.done():
                asked.answer.cancel() if error is None else asked.answer.set_exception(error)

    async def _one_life(self) -> str:
        # A fresh interpreter rather than multiprocessing: nothing of the parent's memory, locks or sockets is in it.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM,
            self._orders,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_READ_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        try:
            try:
                async with asyncio.timeout(_START_DEADLINE_S):
                    ready = await process.stdout.read(len(READY))
            except TimeoutError:
                return f"not ready after {_START_DEADLINE_S:g} s"
            if ready == READY:
                silent = await self._converse(process, process.stdout)
                if silent is not None:
                    return silent
            elif ready:
                return f"{ready!r} where it should say that it is ready"
            code = await process.wait()
            return f"signal {-code}" if code < 0 else f"exit code {code}"
        finally:
            self._process = None
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if process.stdin is not None:
                process.stdin.close()

    async def _converse(self, process: asyncio.subprocess.Process, answers: asyncio.StreamReader) -> str | None:
        """Returns when the process has closed its answers, or has been silent for too long, which is said then."""
        self._process = process
        pulse = Pulse()
        for call, row in self._given_back.items():
            self._ask("advance", call, row)
        for (call, row), asked in self._waiting.items():
            self._ask("fetch", call, row, asked.url)
        reading = asyncio.create_task(self._read(answers, pulse))
        lost = asyncio.create_task(pulse.lost())
        try:
            await asyncio.wait({reading, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return await lost
            await reading
            return None
        finally:
            reading.cancel()
            lost.cancel()
            await asyncio.gather(reading, lost, return_exceptions=True)

    async def _read(self, answers: asyncio.StreamReader, pulse: Pulse) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._answer(answers)
                pulse.heard()

    async def _answer(self, stream: asyncio.StreamReader) -> None:
        length, image_bytes = HEADER.unpack(await stream.readexactly(HEADER.size))
        if not length:
            return  # a sign of life
        said = json.loads(await stream.readexactly(length))
        image = await stream.readexactly(image_bytes) if image_bytes else None
        self._answers += 1
        asked = self._waiting.get((said["call"], said["row"]))
        if asked is None or asked.answer.done():
            return
        answer = asked.answer
        if "fetched" in said:
            found = said["fetched"]
            reason = None if found["reason"] is None else Reason(found.pop("reason"))
            answer.set_result(Fetched(**(found | {"reason": reason}), image=image))
        elif "user_error" in said:
            answer.set_exception(UserError(said["user_error"]))
        elif "error" in said:
            answer.set_exception(RuntimeError(said["error"]))
        else:
            answer.cancel()
