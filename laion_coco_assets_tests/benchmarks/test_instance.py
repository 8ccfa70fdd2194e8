"""A simulated instance is what its pages and ticks take it for, and no tick does more work for shards that are done."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy

from benchmarks.instance.__main__ import main
from benchmarks.instance.instance_benchmark import InstanceBenchSettings, run_instance_bench
from benchmarks.instance.simulation import Simulation, make_simulation
from benchmarks.instance.ticks import Ticks
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import UserError
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets_tests.benchmarks.test_fetch import SILENT
from laion_coco_assets_tests.programs import exit_code


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return make_simulation(tmp_path_factory.mktemp("simulation"), 200, 60, lambda _: None)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A tenth of that, as the command leaves it, with the figures that it wrote."""
    folder = tmp_path_factory.mktemp("few")
    arguments = ["--shards", "20", "--published", "6", "--parts", "definitions,pages", "--folder", str(folder / "it")]
    with pytest.MonkeyPatch.context() as patch:
        code = exit_code(main, *arguments, "--json", str(folder / "figures.json"), monkeypatch=patch)
    assert code == 0
    return Simulation(folder / "it", 20, 6)


def test_dagster_reads_the_copies_as_what_they_stand_for(simulation: Simulation) -> None:
    with simulation.instance() as instance:
        for stage in StageName:
            made = simulation.keys if stage == StageName.FETCHED_IMAGES else simulation.published
            status = instance.get_status_by_partition(dg.AssetKey(stage.value), simulation.keys, SHARDS) or {}
            assert [shard for shard, each in status.items() if each and each.value == "MATERIALIZED"] == made
        last = simulation.published[-2]
        of_shard = dg.AssetRecordsFilter(asset_key=dg.AssetKey(StageName.PUBLISHED.value), asset_partitions=[last])
        (record,) = instance.fetch_materializations(of_shard, limit=10).records
        assert record.asset_materialization is not None
        assert str(record.asset_materialization.metadata["dagster/uri"].value).endswith(f"{last}.parquet")
        run = instance.get_run_by_id(record.run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert run.tags["dagster/asset_partition_range_end"] >= last
        key = dg.AssetCheckKey(dg.AssetKey(StageName.PUBLISHED.value), "published_nothing_vanishes")
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=1000)
        assert {each.partition for each in history} - {None} == set(simulation.published)


@contextmanager
def counted(simulation: Simulation) -> Iterator[dict[str, int]]:
    """How many of the data's files are opened, and how many queries put to the database, until the block ends."""
    counts = {"files": 0, "queries": 0}
    active = [True]

    def opened(event: str, what: tuple[Any, ...]) -> None:
        if active and event == "open" and str(what[0]).startswith(simulation.settings.data_dir):
            counts["files"] += 1

    def asked(*_: Any) -> None:
        counts["queries"] += 1

    sys.addaudithook(opened)  # it stays for as long as the process; it counts nothing after the block
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", asked)
    try:
        yield counts
    finally:
        active.clear()
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", asked)


@pytest.mark.parametrize("tick", ["new_shards", "missing_shards", "refetch_transient"])
def test_a_tick_opens_no_more_for_ten_times_as_many_shards(few: Simulation, simulation: Simulation, tick: str) -> None:
    costs = []
    for each in (few, simulation):
        ticks = Ticks(each)
        getattr(ticks, tick)()  # the first one reads the events, a bounded number of files, and imports
        for again in (ticks, Ticks(each)):  # of the same code server, of another one
            with counted(each) as counts:
                getattr(again, tick)()
            costs.append(counts)
    assert costs == [costs[0]] * 4


def test_the_command_measures_and_writes_its_figures(few: Simulation) -> None:
    figures = json.loads((few.folder.parent / "figures.json").read_text())
    assert (figures["shards"], figures["published"]) == (20, 6)
    assert {each["part"] for each in figures["measured"]} == {"definitions", "pages"}
    assert all(each["first_s"] > 0 for each in figures["measured"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": ("all",)}, "--parts: must be some of definitions"),
        ({"shards": 200_000}, "--shards: must be 2 to 99000, not 200000"),
        ({"shards": 10, "published": 10}, "--published: must be 1 to 9, not 10"),
        ({"json": Path("/no/such/folder/a.json")}, "its folder does not exist"),
    ],
)
def test_impossible_flags_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_instance_bench(InstanceBenchSettings(**changes), SILENT, SILENT)
