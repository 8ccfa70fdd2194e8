"""The sensor registers new shards once and in order, and names source files that changed or vanished."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from laion_coco_assets.automation.new_shards import new_shards
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import SourceError
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.resources.store_resource import ShardStoreResource, SourceResource
from laion_coco_assets.sources.changes import find_changes
from laion_coco_assets.sources.folder import FolderShard
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer


def write_source(folder: Path, shard: str, text: str = "x") -> None:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"URL": [f"http://a/{shard}"], "TEXT": [text]}), folder / f"{shard}.parquet")


def fetch(data: Path, source: Path, shard: str) -> None:
    """An empty file of fetched_images that says it was made from the source file as it is now."""
    digest = list_sources(str(source))[shard].digest
    with stage_writer(ShardStore(data), StageKey(StageName.FETCHED_IMAGES, shard, "f", {"source": digest})):
        pass


class Ticks:
    """The sensor over a folder, tick by tick, with the daemon's part done: registrations and events are carried out."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance = instance
        self.source = folder / "source"
        self.data = folder / "data"

    def tick(self) -> str:
        with dg.build_sensor_context(instance=self.instance) as context:
            result = new_shards(
                context,
                source=SourceResource(source=str(self.source)),
                store=ShardStoreResource(data_dir=str(self.data)),
            )
        if isinstance(result, dg.SkipReason):
            return str(result.skip_message)
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        assert result.skip_reason is not None
        return str(result.skip_reason.skip_message)

    def registered(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions(SHARDS.name or ""))

    def observations(self) -> list[tuple[str | None, dict[str, object]]]:
        records = self.instance.fetch_observations(dg.AssetKey(StageName.FETCHED_IMAGES.value), limit=100).records
        found = [each.asset_observation for each in records]
        return [(each.partition, {k: v.value for k, v in each.metadata.items()}) for each in found if each]


@pytest.fixture
def ticks(tmp_path: Path) -> Iterator[Ticks]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(instance, tmp_path)


def test_new_shards_are_registered_once_in_order_and_said(ticks: Ticks) -> None:
    assert "does not exist, or has no shards" in ticks.tick()
    for shard in ("b", "a"):
        write_source(ticks.source, shard)
    assert ticks.tick() == f"{ticks.source}: 2 new shards of 2 registered, a to b"
    assert ticks.tick() == f"{ticks.source}: 2 shards, all registered"
    write_source(ticks.source, "0")
    assert ticks.tick() == f"{ticks.source}: 1 new shard of 3 registered, 0"
    assert ticks.registered() == ["a", "b", "0"]


def test_a_file_that_changed_after_fetching_is_reported_until_it_is_fetched_again(ticks: Ticks) -> None:
    for shard in ("a", "b"):
        write_source(ticks.source, shard)
    ticks.tick()
    fetch(ticks.data, ticks.source, "a")
    before = list_sources(str(ticks.source))["a"].digest
    write_source(ticks.source, "a", "something else")
    after = list_sources(str(ticks.source))["a"].digest
    for _ in range(2):
        assert "1 source file changed after its images were fetched: a;" in ticks.tick()
    ((shard, said),) = ticks.observations()
    assert shard == "a"
    assert said == {
        "source": str(ticks.source / "a.parquet"),
        "fetched_from_content": before,
        "content_now": after,
    }
    fetch(ticks.data, ticks.source, "a")
    assert ticks.tick() == f"{ticks.source}: 2 shards, all registered"


def test_a_new_date_alone_or_an_unfetched_shard_is_no_change(ticks: Ticks) -> None:
    for shard in ("a", "b"):
        write_source(ticks.source, shard)
    ticks.tick()
    ticks.tick()
    fetch(ticks.data, ticks.source, "a")
    os.utime(ticks.source / "a.parquet", (1, 1))
    write_source(ticks.source, "b", "something else")
    assert ticks.tick() == f"{ticks.source}: 2 shards, all registered"
    assert ticks.observations() == []


def test_a_change_is_found_on_any_file_system(ticks: Ticks) -> None:
    data = f"memory://{ticks.data}"
    write_source(ticks.source, "a")
    assert find_changes(ShardStore(data), list_sources(str(ticks.source)), ["a"]).changed == ()
    digest = list_sources(str(ticks.source))["a"].digest
    with stage_writer(ShardStore(data), StageKey(StageName.FETCHED_IMAGES, "a", "f", {"source": digest})):
        pass
    write_source(ticks.source, "a", "something else")
    assert find_changes(ShardStore(data), list_sources(str(ticks.source)), ["a"]).changed == ("a",)


def test_a_file_that_was_gone_for_a_while_is_held_against_what_it_was(ticks: Ticks) -> None:
    for shard in ("a", "b"):
        write_source(ticks.source, shard)
    ticks.tick()
    fetch(ticks.data, ticks.source, "a")
    (ticks.source / "a.parquet").unlink()
    assert "1 registered shard not in the source any more: a" in ticks.tick()
    write_source(ticks.source, "a", "something else")
    assert "1 source file changed after its images were fetched: a;" in ticks.tick()


def test_a_source_that_can_not_be_read_is_said_and_stops_no_tick(ticks: Ticks) -> None:
    for shard in ("a", "b"):
        write_source(ticks.source, shard)
    ticks.tick()
    fetch(ticks.data, ticks.source, "a")
    (ticks.source / "a.parquet").unlink()
    (ticks.source / "a.parquet").mkdir()
    assert f"{ticks.source / 'a.parquet'}: cannot be read" in ticks.tick()


def test_a_folder_of_images_that_can_not_be_listed_is_a_source_error(tmp_path: Path) -> None:
    shard = FolderShard("a", UPath(tmp_path / "gone"))
    for look in (lambda: shard.version, lambda: shard.digest, lambda: shard.rows):
        with pytest.raises(SourceError, match="cannot be read"):
            look()


def test_vanished_files_are_named(ticks: Ticks) -> None:
    for number in range(7):
        write_source(ticks.source, f"{number}")
    ticks.tick()
    for number in range(6):
        (ticks.source / f"{number}.parquet").unlink()
    assert "6 registered shards not in the source any more: 0, 1, 2, 3, 4 and 1 more" in ticks.tick()


def test_a_call_opens_no_more_files_than_it_may_and_gets_to_all(ticks: Ticks) -> None:
    shards = [str(number) for number in range(7)]
    for shard in shards:
        write_source(ticks.source, shard)
    store = ShardStore(ticks.data)
    find_changes(store, list_sources(str(ticks.source)), shards)
    for shard in shards:
        fetch(ticks.data, ticks.source, shard)
        write_source(ticks.source, shard, "something else")
    looks = [find_changes(store, list_sources(str(ticks.source)), shards, at_most=3) for _ in range(4)]
    assert [(len(each.changed), len(each.news), each.waiting) for each in looks] == [
        (3, 3, 4),
        (6, 3, 1),
        (7, 1, 0),
        (7, 0, 0),
    ]
    for shard in shards:
        fetch(ticks.data, ticks.source, shard)
    looks = [find_changes(store, list_sources(str(ticks.source)), shards, at_most=3) for _ in range(3)]
    assert [len(each.changed) for each in looks] == [4, 1, 0]
