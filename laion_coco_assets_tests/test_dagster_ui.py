"""`dg dev` from the checkout: shards appear, a shard and a backfill are materialised, what the pages show can be read.

With Chromium everything is clicked in a browser; without, the same requests go to the UI's API and the pages are skipped.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from laion_coco_assets.shards.schemas import Stage
from laion_coco_assets.shards.store import ShardStore
from laion_coco_assets_tests.browser import CHROMIUM, Browser, browser, needs_chromium
from laion_coco_assets_tests.checks.mutations import first, ok, rows, tamper
from laion_coco_assets_tests.dagster_server import DagsterServer, dagster_server, wait_for

SHARDS = ["demo-00000", "demo-00001"]
STAGES = [stage.value for stage in Stage]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterServer]:
    settings = {"LAION_COCO_DATA_DIR": str(data_dir), "LAION_COCO_PROFILE": "demo"}
    home = tmp_path_factory.mktemp("dagster") / "home"
    with dagster_server(home, settings) as server:
        wait_for("shards", lambda: partitions(server, "published")["registered"] or None)
        yield server


@pytest.fixture(scope="module")
def person(server: DagsterServer) -> Iterator[Browser | None]:
    """Someone who clicks; None where there is no Chromium."""
    if CHROMIUM is None:
        yield None
        return
    with browser(server) as person:
        yield person


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where pictures of the pages go: the documents' own, when asked for."""
    return request.config.getoption("--pictures") or tmp_path


def partitions(server: DagsterServer, asset: str) -> dict[str, list[str]]:
    """Registered and materialised shards of an asset."""
    node = server.query(
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            partitionKeys
            assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions } } } } }""",
        key={"path": [asset]},
    )["assetNodeOrError"]
    return {
        "registered": node["partitionKeys"],
        "materialized": node["assetPartitionStatuses"]["materializedPartitions"],
    }


def test_the_sensor_registers_the_shards(server: DagsterServer) -> None:
    assert partitions(server, "published")["registered"] == SHARDS
    assert server.laion_coco("shards", "list").split() == SHARDS


def test_a_shard_is_materialised_and_its_checks_show(
    server: DagsterServer, person: Browser | None, data_dir: Path
) -> None:
    run = person.materialise(SHARDS[0]) if person else server.launch(SHARDS[0], STAGES)
    assert server.wait_for_run(run) == "SUCCESS"
    assert partitions(server, "published") == {"registered": SHARDS, "materialized": SHARDS[:1]}
    assert ShardStore(data_dir).shards(Stage.PUBLISHED) == SHARDS[:1]
    checks = server.query(
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError {
            ... on AssetChecks { checks { name blocking executionForLatestMaterialization { status } } } } } } }""",
        key={"path": ["published"]},
    )["assetNodeOrError"]["assetChecksOrError"]["checks"]
    statuses = {check["name"]: check["executionForLatestMaterialization"] for check in checks}
    assert "published_nothing_vanishes" in statuses
    assert {name: (found or {}).get("status") for name, found in statuses.items()} == dict.fromkeys(
        statuses, "SUCCEEDED"
    )


def test_a_backfill_over_all_shards(server: DagsterServer, person: Browser | None) -> None:
    backfill = person.backfill() if person else server.backfill(SHARDS, STAGES)
    assert server.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"
    assert partitions(server, "published")["materialized"] == SHARDS


@pytest.fixture(scope="module")
def materialised(server: DagsterServer) -> None:
    """All shards, also when one test is run alone."""
    if partitions(server, "published")["materialized"] != SHARDS:
        assert server.wait_for_backfill(server.backfill(SHARDS, STAGES)) == "COMPLETED_SUCCESS"


@needs_chromium
@pytest.mark.usefixtures("materialised")
class TestPages:
    """What a data engineer sees once all shards are there."""

    def test_the_graph_shows_every_stage_filled_and_checked(self, person: Browser, pictures: Path) -> None:
        person.open_graph()
        person.page.get_by_text("100% filled").nth(len(STAGES) - 1).wait_for()
        for stage in STAGES:
            assert person.page.get_by_text(stage, exact=True).first.is_visible()
        person.picture(pictures / "asset-graph.png")

    def test_the_partition_grid_shows_every_shard(self, person: Browser, pictures: Path) -> None:
        person.open("fetched_images", "partitions")
        for shard in SHARDS:
            person.page.get_by_text(shard).first.wait_for()
        person.page.get_by_text("Materialized (2)").wait_for()
        person.picture(pictures / "partitions.png")

    def test_a_materialisation_shows_reasons_and_captions(self, person: Browser, pictures: Path) -> None:
        person.open("published", "partitions", partition=SHARDS[0])
        person.page.get_by_text("rejected_by_reason").wait_for()
        person.picture(pictures / "materialisation.png")

    def test_a_check_shows_its_result_and_rule(self, person: Browser, pictures: Path) -> None:
        person.open("published", "checks", checkDetail="published_nothing_vanishes")
        person.page.get_by_text("Passed").first.wait_for()
        person.picture(pictures / "checks.png")


def test_in_a_backfill_a_blocking_check_holds_back_its_shard_alone(server: DagsterServer, data_dir: Path) -> None:
    wait_for("shards", lambda: partitions(server, "published")["registered"] or None)
    assert server.wait_for_backfill(server.backfill(SHARDS, STAGES)) == "COMPLETED_SUCCESS"
    with dg.DagsterInstance.from_config(server.environment["DAGSTER_HOME"]) as instance:
        before = {shard: _captioned(instance, shard) for shard in SHARDS}
        change = rows(first(ok, image=lambda row: row["image"] + b"!"))
        tamper(ShardStore(data_dir), Stage.FETCHED_IMAGES, change, SHARDS[1])
        assert server.wait_for_backfill(server.backfill(SHARDS, STAGES)) == "COMPLETED_FAILED"
        made = {shard: _captioned(instance, shard) - before[shard] for shard in SHARDS}
        assert made == {SHARDS[0]: 1, SHARDS[1]: 0}
        key = dg.AssetCheckKey(dg.AssetKey(Stage.FETCHED_IMAGES.value), "fetched_images_content")
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
        latest = {each.partition: each.status.value for each in reversed(history)}
        assert latest == {None: "FAILED", SHARDS[0]: "SUCCEEDED", SHARDS[1]: "FAILED"}


def _captioned(instance: dg.DagsterInstance, shard: str) -> int:
    """How often a shard's captions have been materialised."""
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(Stage.BLIP_CANDIDATES.value), asset_partitions=[shard])
    return len(instance.fetch_materializations(records, limit=100).records)
