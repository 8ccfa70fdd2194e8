"""A run that is killed or cancelled inside a step gives its slot of the pool back, in a live Dagster."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_coco_assets.demo.resources import write_demo_source
from laion_coco_assets_tests.dagster_server import DagsterServer, dagster_server, wait_for

SHARDS = ("demo-00000", "demo-00001")  # one for each test that ends a run: its work is at its beginning
SAMPLES = 200  # rows of the demo's corpus, in two shards
FREE_AFTER_S = 15  # long enough to see that the run has ended and its slot is still taken
POOL = "gpu"
MODELS = ["blip_candidates"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the deployment lies."""
    return tmp_path_factory.mktemp("killed_run")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[DagsterServer]:
    """Shards whose images are fetched, under the shipped instance with shorter waits of run monitoring."""
    data = folder / "data"
    write_demo_source(data / "source", SAMPLES)
    settings = {"LAION_COCO_DATA_DIR": str(data), "LAION_COCO_PROFILE": "demo"}
    waits = {"run_monitoring": {"free_slots_after_run_end_seconds": FREE_AFTER_S, "poll_interval_seconds": 1}}
    with dagster_server(folder / "home", settings, waits) as server:
        server.laion_coco("shards", "add")
        for shard in SHARDS:
            assert server.wait_for_run(server.launch(shard, ["fetched_images"])) == "SUCCESS"
        yield server


@pytest.fixture
def instance(folder: Path, server: DagsterServer) -> Iterator[dg.DagsterInstance]:
    """The server's instance."""
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        yield instance


def holders(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold a slot of the pool."""
    return set(instance.event_log_storage.get_concurrency_info(POOL).active_run_ids)


def launch_until_it_holds_the_pool(server: DagsterServer, instance: dg.DagsterInstance, shard: str) -> str:
    """A run that is inside the step of a model. Returns its id."""
    run_id = server.launch(shard, MODELS)
    wait_for("the step that holds the pool", lambda: True if holders(instance) == {run_id} else None)
    return run_id


def test_a_killed_run_gives_its_slot_back(server: DagsterServer, instance: dg.DagsterInstance, folder: Path) -> None:
    run_id = launch_until_it_holds_the_pool(server, instance, SHARDS[0])
    messages = [entry.message for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)]
    (process,) = re.findall(r"Started process for run \(pid: (\d+)\)", "\n".join(messages))
    os.kill(int(process), signal.SIGKILL)
    assert server.wait_for_run(run_id) == "FAILURE"
    assert holders(instance) == {run_id}  # nobody but run monitoring frees it
    wait_for("the pool's slot", lambda: None if holders(instance) else True)
    # `dg dev` warns of a configuration that it does not read.
    assert "Found a dagster instance configuration value" not in (folder / "home" / "dg-dev.log").read_text()


def test_a_cancelled_run_gives_its_slot_back(server: DagsterServer, instance: dg.DagsterInstance) -> None:
    run_id = launch_until_it_holds_the_pool(server, instance, SHARDS[1])
    ended = server.query("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)
    assert ended["terminateRun"]["__typename"] == "TerminateRunSuccess"
    assert server.wait_for_run(run_id) == "CANCELED"
    wait_for("the pool's slot", lambda: None if holders(instance) else True)


def test_the_next_run_takes_the_slot(server: DagsterServer) -> None:
    assert server.wait_for_run(server.launch(SHARDS[0], MODELS)) == "SUCCESS"
