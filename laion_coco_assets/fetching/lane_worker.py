"""A process that fetches: an event loop of its own with client and decoding workers, for the hosts that are its.

Started by `lanes`, never by hand. Reads questions from stdin, a JSON list a line, and answers on stdout, a JSON object and
the image behind it each. Between them it says from its event loop that it lives. Ends when stdin closes.
"""

import asyncio
import json
import os
import struct
import sys
from dataclasses import asdict
from typing import Final

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.loop import run
from laion_coco_assets.fetching.outcome import Means, Outcomes
from laion_coco_assets.fetching.pulse import BEAT_S

#: Lengths of an answer's JSON and of its image.
HEADER: Final = struct.Struct("<II")
#: Said once, before any answer.
READY: Final = b"\x06"
#: A header without an answer.
_BEAT: Final = HEADER.pack(0, 0)
_LINE_BYTES = 16 << 20


def main() -> None:
    """Serve until stdin closes."""
    settings, deployment = json.loads(sys.argv[1])
    run(_serve(FetchSettings.model_validate(settings), FetchDeployment.model_validate(deployment)))


async def _serve(settings: FetchSettings, deployment: FetchDeployment) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    questions = asyncio.StreamReader(limit=_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    with os.fdopen(os.dup(1), "wb") as pipe, open(os.devnull, "wb") as nowhere:  # noqa: PTH123, ASYNC230 - a descriptor
        os.dup2(nowhere.fileno(), 1)  # so that no library's chatter joins the answers
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
        answers = asyncio.StreamWriter(transport, protocol, None, loop)
        means = Means(settings, deployment)
        lane = _Lane(means, answers)
        answers.write(READY)
        beating = loop.create_task(_beat(answers))
        try:
            while line := await questions.readline():
                lane.take(json.loads(line))
        finally:
            beating.cancel()
            await lane.end()
            await means.close()


async def _beat(answers: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(BEAT_S)
        answers.write(_BEAT)


class _Lane:
    def __init__(self, means: Means, answers: asyncio.StreamWriter) -> None:
        self._means = means
        self._answers = answers
        self._calls: dict[int, Outcomes] = {}
        self._tasks: dict[tuple[int, int], asyncio.Task[None]] = {}

    def take(self, question: tuple[str, int, int, str | None]) -> None:
        what, call, row, url = question
        match what:
            case "fetch":
                task = asyncio.get_running_loop().create_task(self._fetch(self._call(call), call, row, url))
                self._tasks[call, row] = task
                task.add_done_callback(lambda _: self._tasks.pop((call, row), None))
            case "advance":
                self._call(call).advance(row)
            case "cancel":
                if (running := self._tasks.get((call, row))) is not None:
                    running.cancel()
            case "end":
                self._calls.pop(call, None)

    def _call(self, call: int) -> Outcomes:
        if call not in self._calls:
            self._calls[call] = self._means.call()
        return self._calls[call]

    async def _fetch(self, outcomes: Outcomes, call: int, row: int, url: str | None) -> None:
        image: bytes | None = None
        said: dict[str, object]
        try:
            found = asdict(await outcomes.fetch(row, url))
        except asyncio.CancelledError:
            said = {"cancelled": True}
        except UserError as error:
            said = {"user_error": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            said = {"error": str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"}
        else:
            image = found.pop("image")
            said = {"fetched": found}
        text = json.dumps({"call": call, "row": row, **said}).encode()
        self._answers.write(HEADER.pack(len(text), len(image or b"")) + text)
        if image:
            self._answers.write(image)
        await self._answers.drain()

    async def end(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
