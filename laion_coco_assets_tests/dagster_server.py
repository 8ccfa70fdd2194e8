"""A `dg dev` of its own for a test: a free loopback port, a fresh DAGSTER_HOME, its GraphQL API."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

ROOT = Path(__file__).parents[1]
DEADLINE_S = 300.0
T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T | None]) -> T:
    """The condition's first value that is not None; fails by name when five minutes were not enough."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        value = condition()
        if value is not None:
            return value
        time.sleep(0.25)  # between two looks; what ends the wait is the condition
    raise AssertionError(f"waited {DEADLINE_S:.0f} s for {what}")


@dataclass(frozen=True)
class DagsterServer:
    """A running Dagster, by its URL."""

    url: str
    environment: Mapping[str, str]

    def query(self, text: str, **variables: Any) -> Any:
        """The data of a GraphQL query or mutation."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def laion_coco(self, *arguments: str) -> str:
        """What a command prints that shares this Dagster's instance and settings."""
        command = [sys.executable, "-m", "laion_coco_assets", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=dict(self.environment)).stdout

    def repository(self) -> dict[str, str]:
        """The selector of the one repository."""
        found = self.query(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
        )
        (node,) = found["repositoriesOrError"]["nodes"]
        return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}

    def launch(self, shard: str, assets: list[str]) -> str:
        """Materialise assets, with their checks, for a shard, as the UI's button does; returns the run's id."""
        launched = self.query(
            """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params={
                "selector": {
                    **self.repository(),
                    "pipelineName": "__ASSET_JOB",
                    "assetSelection": [{"path": [asset]} for asset in assets],
                },
                "mode": "default",
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": "dagster/partition", "value": shard}]},
            },
        )["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def wait_for_run(self, run_id: str) -> str:
        """The status a run ends with."""

        def ended() -> str | None:
            run = self.query("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)[
                "runOrError"
            ]
            return run["status"] if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

        return wait_for(f"run {run_id}", ended)

    def backfill(self, shards: list[str], assets: list[str]) -> str:
        """Start a backfill; returns its id."""
        launched = self.query(
            """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": shards},
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def wait_for_backfill(self, backfill_id: str) -> str:
        """The status a backfill ends with."""

        def ended() -> str | None:
            found = self.query(
                """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
                    ... on PartitionBackfill { status } } }""",
                id=backfill_id,
            )["partitionBackfillOrError"]
            return found["status"] if found["status"].startswith(("COMPLETED", "FAILED", "CANCELED")) else None

        return wait_for(f"backfill {backfill_id}", ended)


@contextmanager
def dagster_server(
    home: Path, settings: Mapping[str, str], instance: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[DagsterServer]:
    """`dg dev` from the checkout, as a user starts it, until the block ends.

    Args:
        home: DAGSTER_HOME. It must not exist.
        settings: environment variables of the deployment.
        instance: values that replace those of the shipped dagster.yaml, by section and key.
    """
    home.mkdir(parents=True)
    configuration = yaml.safe_load((ROOT / "deployment" / "dagster.yaml").read_text())
    for section, values in (instance or {}).items():
        configuration[section].update(values)
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, **settings, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    command = [Path(sys.executable).with_name("dg"), "dev", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "dg-dev.log").open("w") as log:
        # In a session of its own: should it not end when asked, its children go with it.
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    server = DagsterServer(f"http://127.0.0.1:{port}", environment)

    def ready() -> bool | None:
        assert process.poll() is None, (home / "dg-dev.log").read_text()
        try:
            return True if server.repository() else None
        except (OSError, ValueError):
            return None

    try:
        wait_for("dg dev", ready)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
