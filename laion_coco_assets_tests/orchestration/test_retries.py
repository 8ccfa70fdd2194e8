"""A stage tries again what may pass by itself, and only that."""

import errno
import os
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.errors import DeviceMemoryError, SourceError, StoreError, StoreUnavailableError
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.orchestration.retries import is_transient
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.resources.store_resource import SourceResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailableError("written by another process"),
        DeviceMemoryError("not one image fits"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory"),
        ConnectionResetError(),
        TimeoutError(),
        os_error(errno.EIO),
        os_error(errno.ESTALE),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        StoreError("damaged"),
        SourceError("no URL column"),
        ValueError("a mistake in the code"),
        os_error(errno.ENOENT),
        os_error(errno.EACCES),
        os_error(errno.ENOSPC),
    ],
    ids=repr,
)
def test_what_would_fail_again_is_not(error: BaseException) -> None:
    assert not is_transient(error)


def fetch(folder: Path, source: SourceResource, instance: dg.DagsterInstance) -> tuple[bool, int]:
    """Whether a run over the shard `s` succeeded, and how often it was put off."""
    profile = folder / "mine.toml"  # with the deployment's fetcher, not the demo's
    profile.write_text('base = "demo"\nname = "mine"\nresources = ""\n')
    settings = Settings(profile=str(profile), data_dir=str(folder))
    defs = build_defs(settings, {"progress": NoProgress(), "source": source})
    (asset,) = [
        each
        for each in defs.assets or ()
        if isinstance(each, dg.AssetsDefinition) and each.key.path == ["fetched_images"]
    ]
    instance.add_dynamic_partitions(SHARDS.name or "", ["s"])
    result = dg.materialize(
        [asset], partition_key="s", instance=instance, resources=dict(defs.resources or {}), raise_on_error=False
    )
    return result.success, sum(event.is_step_up_for_retry for event in result.all_events)


def test_a_shard_that_another_process_writes_is_waited_for(tmp_path: Path) -> None:
    pq.write_table(pa.table({"URL": ["no URL"], "TEXT": ["x"]}), tmp_path / "s.parquet")
    held, asked = ExitStack(), []

    class Source(SourceResource):
        """Lets go of the shard when it is asked for the second time."""

        def shard(self, key: str) -> SourceShard:
            asked.append(key)
            if len(asked) == 2:
                held.close()
            return super().shard(key)

    with held, dg.DagsterInstance.ephemeral() as instance:
        held.enter_context(ShardStore(tmp_path).lock(StageKey(StageName.FETCHED_IMAGES, "s", "any")))
        assert fetch(tmp_path, Source(source=str(tmp_path)), instance) == (True, 1)
        assert instance.get_materialized_partitions(dg.AssetKey("fetched_images")) == {"s"}


def test_a_shard_that_has_to_be_mended_fails_at_once(tmp_path: Path) -> None:
    (tmp_path / "s.parquet").write_bytes(b"no parquet")
    with dg.DagsterInstance.ephemeral() as instance:
        assert fetch(tmp_path, SourceResource(source=str(tmp_path)), instance) == (False, 0)


def test_a_file_system_that_fails_makes_no_file_count_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = StageKey(StageName.FETCHED_IMAGES, "s", "f")
    store = ShardStore(tmp_path)
    with stage_writer(store, key):
        pass

    def failing(*_: object, **__: object) -> None:
        raise os_error(errno.EIO)

    monkeypatch.setattr(pq, "ParquetFile", failing)  # no disk fails when it is asked to
    with pytest.raises(StoreUnavailableError, match=r"s\.parquet"):
        store.is_complete(key)
