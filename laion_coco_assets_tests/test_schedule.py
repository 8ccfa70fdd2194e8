"""A schedule in a live Dagster: turned on, its ticks by the daemon request runs, and those make what is missing."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.demo.resources import SAMPLES, write_demo_source
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.dagster_server import DagsterServer, dagster_server, wait_for

SHARDS = ["demo-00000", "demo-00001"]
ROWS = 10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DagsterServer]:
    """Two short shards, registered, and a schedule that ticks each minute once it is on."""
    data = tmp_path / "data"
    write_demo_source(data / "source", SAMPLES)
    for shard in SHARDS:
        file = data / "source" / f"{shard}.parquet"
        rows: pa.Table = pq.read_table(file)
        pq.write_table(rows.slice(0, ROWS), file)
    settings = {
        "LAION_COCO_DATA_DIR": str(data),
        "LAION_COCO_PROFILE": "demo",
        "LAION_COCO_SCHEDULE_CRON": "* * * * *",
    }
    with dagster_server(tmp_path / "home", settings) as server:
        server.laion_coco("shards", "add")
        yield server


def requested(server: DagsterServer) -> dict[tuple[str, ...], str]:
    """Status of each run that the schedule requested, by its stages."""
    found = server.query(
        """query($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results {
            status assetSelection { path } tags { key value } } } } }""",
        filter={"tags": [{"key": "laion_coco/requested_by", "value": "missing_shards"}]},
    )["runsOrError"]["results"]
    of_range = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    for run in found:
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        assert [tags[name] for name in of_range] == SHARDS
    statuses = [(tuple(sorted(key["path"][0] for key in run["assetSelection"])), run["status"]) for run in found]
    assert len(dict(statuses)) == len(statuses), "a tick requested what an earlier one had"
    return dict(statuses)


def test_missing_shards_turned_on_publishes_what_is_registered(server: DagsterServer, tmp_path: Path) -> None:
    fetch, models = (
        ("fetched_images",),
        tuple(sorted(stage.value for stage in StageName if stage != StageName.FETCHED_IMAGES)),
    )
    assert requested(server) == {}
    started = server.query(
        """mutation($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) {
            __typename ... on ScheduleStateResult { scheduleState { status } } ... on PythonError { message } } }""",
        selector={**server.repository(), "scheduleName": "missing_shards"},
    )["startSchedule"]
    assert started == {"__typename": "ScheduleStateResult", "scheduleState": {"status": "RUNNING"}}

    def ended(stages: tuple[str, ...]) -> str | None:
        status = requested(server).get(stages, "")
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    assert wait_for("the run that fetches", lambda: ended(fetch)) == "SUCCESS"
    assert wait_for("the run of the models", lambda: ended(models)) == "SUCCESS"
    store = ShardStore(tmp_path / "data")
    assert {stage: store.shards(stage) for stage in StageName} == dict.fromkeys(StageName, SHARDS)
    assert requested(server) == {fetch: "SUCCESS", models: "SUCCESS"}
