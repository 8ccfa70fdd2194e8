"""Runs Dagster's webserver and daemon on a simulated instance, on loopback."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks.instance.simulation import Simulation
from laion_coco_assets.errors import UserError

#: Enough for the slowest wait: until all runs of a backfill are submitted.
DEADLINE_S: Final = 1800.0
_BETWEEN_LOOKS_S: Final = 0.5
_MODULE: Final = ("-m", "laion_coco_assets.definitions")
T = TypeVar("T")


class Webserver:
    """A running webserver."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"

    def query(self, text: str, **variables: Any) -> Any:
        """Run a GraphQL query or mutation and return its data.

        Raises:
            UserError: the server answered with an error.
            OSError: it did not answer.
        """
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310  # loopback
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:  # noqa: S310  # likewise
            answer = json.load(response)
        if "errors" in answer:
            raise UserError(f"Dagster's webserver: {answer['errors'][0]['message']}")
        return answer["data"]


@contextmanager
def webserver(simulation: Simulation) -> Iterator[Webserver]:
    """Run the webserver until the block ends. Its code location is loaded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Webserver(port)

    def ready() -> bool | None:
        try:
            return True if server.query("{ repositoriesOrError { __typename } }") else None
        except OSError:
            return None

    with _process(simulation, "dagster-webserver", "--host", "127.0.0.1", "--port", str(port)) as process:
        wait_for("the webserver", ready, process)
        yield server


@contextmanager
def daemon(simulation: Simulation) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon until the block ends."""
    with _process(simulation, "dagster-daemon", "run") as process:
        yield process


def wait_for(what: str, condition: Callable[[], T | None], process: subprocess.Popen[bytes]) -> T:
    """Wait for the condition's first value that is not None.

    Raises:
        UserError: `process` ended, or `DEADLINE_S` passed.
    """
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        value = condition()
        if value is not None:
            return value
        time.sleep(_BETWEEN_LOOKS_S)
    raise UserError(
        f"waited for {what}, but the process ended or {DEADLINE_S:.0f} s passed; see the logs in the instance's folder"
    )


@contextmanager
def _process(simulation: Simulation, program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(Path(sys.executable).with_name(program)), *arguments, *_MODULE]
    with (simulation.folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # Dagster's own programs
            command, cwd=simulation.folder, env=simulation.environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
