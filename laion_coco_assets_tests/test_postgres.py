"""The shipped configuration for Postgres, against a real server: what runs record there is what Dagster reads back."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage

from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.automation.missing_shards import build_missing_shards
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.demo.resources import corpus_resources
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets_tests.conftest import demo_settings
from laion_coco_assets_tests.postgres_server import PASSWORD, needs_postgres, postgres_server

ROOT = Path(__file__).parents[1]
STAGE = dg.AssetKey(StageName.FETCHED_IMAGES.value)
SAMPLES = 12
GONE = "gone"  # registered, and in no source

pytestmark = needs_postgres


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A DAGSTER_HOME as docs/OPERATIONS.md makes it, its database alive."""
    home = tmp_path / "home"
    home.mkdir()
    shipped = [ROOT / "deployment" / name for name in ("dagster.yaml", "dagster-postgres.yaml")]
    (home / "dagster.yaml").write_text("".join(file.read_text() for file in shipped))
    with postgres_server() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield home


def test_runs_over_shards_are_recorded_and_read_back(home: Path, tmp_path: Path) -> None:
    settings = demo_settings(tmp_path / "data", SAMPLES)
    fetched, missing = list_sources(settings.source_or_default)
    defs = build_defs(settings, corpus_resources(settings))

    def materialize(shard: str) -> bool:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            return dg.materialize(
                [*(defs.assets or []), *(defs.asset_checks or [])],
                partition_key=shard,
                instance=instance,
                resources=dict(defs.resources or {}),
                selection=dg.AssetSelection.assets(STAGE),
                raise_on_error=False,
            ).success

    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(SHARDS.name or "", [fetched, GONE, missing])
    assert materialize(fetched)
    assert materialize(fetched)  # the database takes a check's second result for the same shard, too
    assert not materialize(GONE)

    # Opened anew: what is read now comes from the server.
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert isinstance(instance.run_storage, PostgresRunStorage)
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        assert isinstance(instance.schedule_storage, PostgresScheduleStorage)
        assert PASSWORD not in instance.info_str()

        statuses = [run.status for run in instance.get_runs()]
        assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.SUCCESS]
        assert list(instance.get_dynamic_partitions(SHARDS.name or "")) == [fetched, GONE, missing]

        of_shard = dg.AssetRecordsFilter(asset_key=STAGE, asset_partitions=[fetched])
        _, first = (each.asset_materialization for each in instance.fetch_materializations(of_shard, limit=10).records)
        assert first is not None
        assert first.metadata["dagster/row_count"].value == SAMPLES // 2

        keys = [key for checks in defs.asset_checks or [] for key in checks.check_keys if key.asset_key == STAGE]
        assert keys
        for key in keys:
            history = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
            results = [each.status.value for each in history if each.partition == fetched]
            assert results == ["SUCCEEDED", "SUCCEEDED"], key

        status = instance.get_status_by_partition(STAGE, [fetched, GONE, missing], SHARDS)
        assert status is not None
        assert {shard: each and each.value for shard, each in status.items()} == {
            fetched: "MATERIALIZED",
            GONE: "FAILED",
            missing: None,
        }
        # The schedule tells the same by the database's own queries.
        schedule = build_missing_shards(settings, pipeline_of(load_profile(settings.profile)))
        with dg.build_schedule_context(instance=instance) as context:
            requests = schedule(context)
        first_shards = [each.tags["dagster/asset_partition_range_start"] for each in requests]
        assert first_shards == [fetched, missing]  # the stages behind fetching, then fetching; none for what failed
