"""`laion-coco shards remove`: what is gone, what stays, and that nothing comes back by itself."""

import io
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.assets import fingerprints, pipeline_of
from laion_coco_assets.automation.missing_shards import build_missing_shards
from laion_coco_assets.automation.new_shards import new_shards
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import ReusedFile, StageKey
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.resources.store_resource import ShardStoreResource, SourceResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.cli.test_cli import laion_coco
from laion_coco_assets_tests.contracts import stage_writer
from laion_coco_assets_tests.store.checkpoint_folders import checkpoint_folder

STAGES = (StageName.FETCHED_IMAGES, StageName.PUBLISHED, LEDGER)
WITH_CHECKPOINTS = (StageName.BLIP_CANDIDATES, StageName.FETCHED_IMAGES)
#: `a-b` begins as `a` does, checkpoints and all.
KEYS = ["a", "a-b", "c"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardStore:
    """Three registered shards with files and checkpoints, and the settings in the environment."""
    for folder in ("home", "source"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAION_COCO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LAION_COCO_SOURCE", str(tmp_path / "source"))
    store = ShardStore(tmp_path / "data")
    for shard in KEYS:
        pq.write_table(pa.table({"URL": ["http://a/"], "TEXT": ["x"]}), tmp_path / "source" / f"{shard}.parquet")
        for stage in STAGES:
            with stage_writer(store, StageKey(stage, shard, "f")):
                pass
        of_models = checkpoint_folder(store, StageKey(StageName.BLIP_CANDIDATES, shard, "f"))
        of_a_retry = checkpoint_folder(
            store, StageKey(StageName.FETCHED_IMAGES, shard, "f"), ReusedFile("content", "timeout")
        )
        for left in (of_models, of_a_retry):
            left.mkdir(parents=True)
            (left / "part").write_bytes(b"")
    assert laion_coco("shards", "add", monkeypatch=monkeypatch) == 0
    return store


@pytest.fixture
def shards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: ShardStore
) -> Callable[..., str]:
    """Runs `laion-coco shards …` and gives what it printed, in one line."""

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert laion_coco("shards", *arguments, monkeypatch=monkeypatch) == code
        said = capsys.readouterr()
        return " ".join((said.out + said.err).split())

    return run


def _left(store: ShardStore) -> dict[str, list[str]]:
    """Shards with files by stage, and those with checkpoints."""
    found = {str(stage): store.shards(stage) for stage in STAGES}
    for stage in WITH_CHECKPOINTS:
        folders = [each.name for each in (store.checkpoints / stage).iterdir() if each.is_dir()]
        found[f"checkpoints of {stage}"] = sorted(folder.rsplit("-", 1)[0] for folder in folders)
    return found


def _all(shards: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys((*STAGES, *(f"checkpoints of {stage}" for stage in WITH_CHECKPOINTS)), shards)


def _tick(store: ShardStore, source: Path) -> str:
    with dg.DagsterInstance.get() as instance, dg.build_sensor_context(instance=instance) as context:
        result = new_shards(
            context,
            source=SourceResource(source=str(source)),
            store=ShardStoreResource(data_dir=str(store.root)),
        )
    assert isinstance(result, dg.SensorResult)
    assert result.dynamic_partitions_requests == []
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def test_a_removed_shard_keeps_its_files_and_does_not_come_back(
    store: ShardStore, shards: Callable[..., str], tmp_path: Path
) -> None:
    assert shards("remove", "a") == f"a: removed; 5 files stay in {tmp_path / 'data'}"
    assert shards("list") == "a-b c"
    assert _left(store) == _all(KEYS)
    assert "1 shard left out, removed by `laion-coco shards remove`: a" in _tick(store, tmp_path / "source")
    assert "1 were removed before and are left out" in shards("add")
    assert shards("list") == "a-b c"
    assert shards("add", "--shards", "a") == "1 shard added, 0 were registered already"
    assert shards("list") == "a-b c a"


def test_files_are_deleted_after_a_yes(
    store: ShardStore, shards: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "Delete 5 files and checkpoints of 1 shard?" in shards("remove", "a", "--files", code=1)
    assert shards("list") == "a-b a c"
    assert _left(store) == _all(KEYS)
    assert "a: removed; 5 files and checkpoints deleted" in shards("remove", "a", "c", "--files", "--yes")
    assert shards("list") == "a-b"
    assert _left(store) == _all(["a-b"])


def test_a_shard_whose_files_were_deleted_is_made_anew_when_it_comes_back(shards: Callable[..., str]) -> None:
    profile = load_profile("demo")
    settings = Settings(profile="demo")

    def requested() -> list[str]:
        with dg.DagsterInstance.get() as instance, dg.build_schedule_context(instance=instance) as context:
            found = build_missing_shards(settings, pipeline_of(profile))(context)
        return [] if isinstance(found, dg.SkipReason) else [str(each.run_key) for each in found]

    with dg.DagsterInstance.get() as instance:
        for stage, code_version in fingerprints(profile).items():
            for shard in KEYS:
                tags = {"dagster/code_version": code_version}
                event = dg.AssetMaterialization(stage, partition=shard, tags=tags)
                instance.report_runless_asset_event(event)
    assert requested() == []
    shards("remove", "a", "--files", "--yes")
    shards("add", "--shards", "a")
    assert requested() == ["fetched_images a"]


def test_a_shard_that_is_being_written_is_not_deleted(store: ShardStore, shards: Callable[..., str]) -> None:
    with store.lock(StageKey(StageName.PUBLISHED, "a", "")):
        assert "is being written by another process" in shards("remove", "a", "--files", "--yes", code=2)
    assert _left(store)[StageName.FETCHED_IMAGES] == KEYS


def test_an_unknown_shard_is_named_and_nothing_is_done(store: ShardStore, shards: Callable[..., str]) -> None:
    assert "zz: neither registered nor in" in shards("remove", "a", "zz", code=2)
    assert shards("list") == "a-b a c"
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions(SHARDS.name or "") == ["a-b", "a", "c"]
