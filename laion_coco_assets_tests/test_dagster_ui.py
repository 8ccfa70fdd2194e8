"""`dg dev` from the checkout: shards appear, a shard and a backfill are materialised, what the pages show can be read.

With Chromium everything is clicked in a browser; without, the same requests go to the UI's API and the pages are skipped.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.demo.resources import SAMPLES, write_demo_source
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.browser import CHROMIUM, Browser, browser, needs_chromium
from laion_coco_assets_tests.checks.mutations import first, ok, rows, tamper
from laion_coco_assets_tests.dagster_server import DagsterServer, dagster_server, wait_for

#: The demo's corpus in more shards than the demo has, as there are shards behind one another in a plot.
SHARDS = [f"demo-{i:05}" for i in range(6)]
#: Two that come later: one is damaged, one is not materialised.
DAMAGED, WAITING = "demo-00006", "demo-00007"
STAGES = [stage.value for stage in StageName]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data folder with the source in it; the pages show its path, so it is a short one."""
    with TemporaryDirectory(prefix="laion-coco-") as folder:
        source = Path(folder) / "source"
        write_demo_source(source, SAMPLES)
        corpus = pa.concat_tables([pq.read_table(file) for file in sorted(source.iterdir())])
        shutil.rmtree(source)
        source.mkdir()
        rows = -(-SAMPLES // len(SHARDS))
        for i, shard in enumerate(SHARDS):
            pq.write_table(corpus.slice(i * rows, rows), source / f"{shard}.parquet")
        yield Path(folder)


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
    assert ShardStore(data_dir).shards(StageName.PUBLISHED) == SHARDS[:1]
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


def test_a_backfill_over_all_shards(server: DagsterServer, person: Browser | None, pictures: Path) -> None:
    backfill = person.backfill() if person else server.backfill(SHARDS, STAGES)
    assert server.wait_for_backfill(backfill) == "COMPLETED_SUCCESS"
    assert partitions(server, "published")["materialized"] == SHARDS
    if person:
        person.page.goto(f"{server.url}/runs/b/{backfill}")
        person.page.get_by_text("100% completed").nth(len(STAGES) - 1).wait_for()
        person.picture(pictures / "backfill.png", height=600)


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
        person.open_graph(height=1500)
        person.page.get_by_text("100% filled").nth(len(STAGES) - 1).wait_for()
        for stage in STAGES:
            assert person.page.get_by_text(stage, exact=True).first.is_visible()
        assert person.nodes.count() == len(STAGES)
        person.picture(pictures / "asset-graph.png", person.nodes, height=1500, margin=24)

    def test_a_materialisation_shows_reasons_settings_and_captions(self, person: Browser, pictures: Path) -> None:
        person.open("published", "partitions", partition=SHARDS[-1])
        for entry in ("rejected_by_reason", "samples_per_second", "dagster/row_count", "dagster/uri"):
            person.page.get_by_text(entry, exact=True).wait_for()
        person.page.get_by_role("row", name="settings").get_by_text("LAION-COCO style captions").wait_for()
        person.picture(pictures / "materialisation.png", height=1250)
        examples = person.show_markdown("examples")
        assert examples.locator("img").count() == 6
        person.picture(pictures / "examples.png", examples)

    def test_histograms_are_drawn(self, person: Browser, pictures: Path) -> None:
        person.open("clip_l_top5", "partitions", partition=SHARDS[-1])
        histograms = person.show_markdown("histograms")
        assert histograms.locator("img").count() == 1
        person.picture(pictures / "histograms.png", histograms)

    @pytest.mark.parametrize(
        ("stage", "names"),
        [
            (StageName.FETCHED_IMAGES, ("fetch_success_share", "duplicate_url_share", "samples_per_second")),
            (StageName.PUBLISHED, ("score_uplift", "duplicate_caption_share", "samples_per_second")),
        ],
    )
    def test_numbers_are_plotted_over_shards(
        self, person: Browser, pictures: Path, stage: StageName, names: tuple[str, ...]
    ) -> None:
        plots = person.show_plots(stage)
        for name in names:
            plots.get_by_text(name, exact=True).wait_for()
        assert plots.locator("canvas").count() >= len(names)
        person.picture(pictures / f"plots-{stage}.png", plots, height=3000, margin=10)

    def test_the_grid_tells_what_failed_and_what_is_missing(
        self, server: DagsterServer, person: Browser, data_dir: Path, pictures: Path
    ) -> None:
        whole = (data_dir / "source" / f"{SHARDS[0]}.parquet").read_bytes()
        (data_dir / "source" / f"{DAMAGED}.parquet").write_bytes(whole[: len(whole) // 2])
        (data_dir / "source" / f"{WAITING}.parquet").write_bytes(whole)
        server.laion_coco("shards", "add")
        run = server.launch(DAMAGED, STAGES)
        assert server.wait_for_run(run) == "FAILURE"
        person.open("fetched_images", "partitions", partition=DAMAGED)
        for state in ("Failed (1)", f"Materialized ({len(SHARDS)})", "Missing (1)"):
            person.page.get_by_text(state).wait_for()
        person.picture(pictures / "partitions.png", height=600)
        person.page.goto(f"{server.url}/runs/{run}")
        person.page.get_by_text(f"{DAMAGED}.parquet: not a parquet file").first.wait_for()


@pytest.fixture(scope="module")
def tampered(server: DagsterServer, data_dir: Path) -> str:
    """One more backfill, in which a shard breaks a blocking rule; returns the rule."""
    change = rows(first(ok, image=lambda row: row["image"] + b"!"))
    tamper(ShardStore(data_dir), StageName.FETCHED_IMAGES, change, SHARDS[-1])
    assert server.wait_for_backfill(server.backfill(SHARDS, STAGES)) == "COMPLETED_FAILED"
    return "fetched_images_content"


@pytest.mark.usefixtures("materialised")
def test_in_a_backfill_a_blocking_check_holds_back_its_shard_alone(
    server: DagsterServer, request: pytest.FixtureRequest
) -> None:
    with dg.DagsterInstance.from_config(server.environment["DAGSTER_HOME"]) as instance:
        before = {shard: _captioned(instance, shard) for shard in SHARDS}
        rule = request.getfixturevalue("tampered")
        made = {shard: _captioned(instance, shard) - before[shard] for shard in SHARDS}
        assert made == {**dict.fromkeys(SHARDS, 1), SHARDS[-1]: 0}
        key = dg.AssetCheckKey(dg.AssetKey(StageName.FETCHED_IMAGES.value), rule)
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=50)
        latest = {each.partition: each.status.value for each in reversed(history) if each.partition != DAMAGED}
        assert latest == {None: "FAILED", **dict.fromkeys(SHARDS, "SUCCEEDED"), SHARDS[-1]: "FAILED"}


@needs_chromium
@pytest.mark.usefixtures("materialised")
def test_a_check_that_failed_shows_the_samples_and_the_rule(person: Browser, tampered: str, pictures: Path) -> None:
    person.open("fetched_images", "checks", checkDetail=tampered)
    person.page.get_by_role("row", name="actual").get_by_text("1 offender", exact=True).wait_for()
    person.page.get_by_role("row", name="expected").get_by_text("0 offenders", exact=True).wait_for()
    person.picture(pictures / "checks.png", height=850)
    sql = person.show_markdown("sql")
    sql.get_by_text("FROM fetched_images").first.wait_for()
    sql.get_by_role("button", name="Close").click()
    sql.wait_for(state="hidden")
    offenders = person.show_markdown("first_offenders")
    offenders.get_by_text(SHARDS[-1]).wait_for()
    person.picture(pictures / "offenders.png", offenders)


def _captioned(instance: dg.DagsterInstance, shard: str) -> int:
    """How often a shard's captions have been materialised."""
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(StageName.BLIP_CANDIDATES.value), asset_partitions=[shard])
    return len(instance.fetch_materializations(records, limit=100).records)
