"""The servers of the fetch benchmark: drawn JPEGs over HTTP and HTTPS, on many loopback addresses.

`Servers` starts the processes. Each runs this file as a script.
"""

import asyncio
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from PIL import Image

PICTURES: Final = 32
#: To a client, each address is a host. With this many, no client reaches its limit per host.
HOSTS: Final = 128 if sys.platform == "linux" else 1
_SLOW_BYTES: Final = 6_000
_SLOW_SECONDS: Final = 0.1


class Servers:
    """Runs server processes while the `with` block runs. They end with this process, however it ends.

    `folder` must hold certificate.pem and key.pem. With `slow`, they send 60 kB/s over each connection.
    """

    def __init__(self, folder: Path, workers: int, *, slow: bool) -> None:
        self._commands = [
            [sys.executable, "-P", __file__, json.dumps([str(folder), number, workers, slow])]
            for number in range(workers)
        ]
        self._processes: list[subprocess.Popen[str]] = []
        self._hosts: dict[str, list[str]] = {"http": [], "https": []}

    def __enter__(self) -> Self:
        try:
            for command in self._commands:
                self._processes.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
                )
            for process in self._processes:
                for scheme, hosts in self._read(process).items():
                    self._hosts[scheme] += hosts
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def urls(self, scheme: str, count: int) -> list[str]:
        """`count` different URLs, host by host."""
        hosts = self._hosts[scheme]
        return [f"{scheme}://{hosts[number % len(hosts)]}/{number}.jpg" for number in range(count)]

    def first_request(self) -> float:
        """The time (`time.monotonic`) of the first request since the last call. Raises ValueError without any request."""
        times: list[float | None] = []
        for process in self._processes:
            assert process.stdin is not None  # noqa: S101 - for the type checker: PIPE was asked for
            process.stdin.write("\n")
            process.stdin.flush()
            times.append(self._read(process))
        return min(moment for moment in times if moment is not None)

    @staticmethod
    def _read(process: "subprocess.Popen[str]") -> Any:
        assert process.stdout is not None  # noqa: S101 - as above
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a server process ended; its output is above")
        return json.loads(line)


class _State:
    first: float | None = None


class _Protocol(asyncio.Protocol):
    def __init__(self, answers: Sequence[bytes], state: _State, *, slow: bool) -> None:
        self._answers = answers
        self._state = state
        self._slow = slow
        self._head = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # asyncio types its callbacks more widely than it calls them

    def data_received(self, data: bytes) -> None:
        self._head += data
        while b"\r\n\r\n" in self._head:
            head, _, self._head = self._head.partition(b"\r\n\r\n")
            if self._state.first is None:
                self._state.first = time.monotonic()
            number = int(head[5 : head.index(b".jpg")])
            answer = self._answers[number % len(self._answers)]
            close = b"connection: close" in head.lower()
            if self._slow:
                self._drip(memoryview(answer), close)
            else:
                self._transport.write(answer)
                if close:
                    self._transport.close()

    def _drip(self, rest: memoryview, close: bool) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(rest[:_SLOW_BYTES])
        if len(rest) > _SLOW_BYTES:
            asyncio.get_running_loop().call_later(_SLOW_SECONDS, self._drip, rest[_SLOW_BYTES:], close)
        elif close:
            self._transport.close()


def draw_pictures(count: int) -> list[bytes]:
    """JPEGs of 512x512 pixels, smooth with some grain. About 63 kB each, as usual on the web."""
    generator = np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((512, 512), Image.Resampling.BICUBIC), dtype=np.float32)
        grain = generator.normal(0, 7, (512, 512, 1)).astype(np.float32)
        data = BytesIO()
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=87)
        pictures.append(data.getvalue())
    return pictures


async def _serve(folder: Path, number: int, workers: int, slow: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (len(picture), picture)
        for picture in draw_pictures(PICTURES)
    ]
    state = _State()
    loop = asyncio.get_running_loop()
    hosts: dict[str, list[str]] = {"http": [], "https": []}
    servers = []
    for address in addresses()[number::workers] or addresses():
        for scheme, of_scheme in hosts.items():
            server = await loop.create_server(
                lambda: _Protocol(answers, state, slow=slow),
                address,
                0,
                ssl=context if scheme == "https" else None,
                backlog=1024,
            )
            servers.append(server)
            of_scheme.append(f"{address}:{server.sockets[0].getsockname()[1]}")
    ended = asyncio.Event()

    def report() -> None:
        print(json.dumps(state.first), flush=True)
        state.first = None

    def listen() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(report)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    print(json.dumps(hosts), flush=True)
    threading.Thread(target=listen, daemon=True).start()
    await ended.wait()


def addresses() -> list[str]:
    """Loopback addresses. To a client, each is a host."""
    return [f"127.0.1.{last}" for last in range(1, HOSTS + 1)] if HOSTS > 1 else ["127.0.0.1"]


def main() -> None:
    """Serve until stdin closes. Answer each line with the time of the first request since the last line."""
    from laion_coco_assets.fetching.loop import run

    folder, number, workers, slow = json.loads(sys.argv[1])
    run(_serve(Path(folder), number, workers, slow))


if __name__ == "__main__":
    main()
