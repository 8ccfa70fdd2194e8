"""Asking again touches what was asked for and nothing else, however it ends."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from laion_coco_assets.assets.refetch import refetch_shard
from laion_coco_assets.cli.runner import ShardOutcome, run_shards
from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.contract.shared_columns import SOURCE
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.duplicates import SampleIds
from laion_coco_assets.fetching.fetched_rows import fetched_row
from laion_coco_assets.fetching.fetcher import Fetched, Fetcher
from laion_coco_assets.orchestration import materialise
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.resources.store_resource import SourceResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.store import atomic
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, BadServer, Connection
from laion_coco_assets_tests.images import pictures

STAGE = StageName.FETCHED_IMAGES
ROWS = 700


class Web:
    """A server whose `/ill` pictures are broken until it is healed."""

    def __init__(self, server: BadServer) -> None:
        self.server = server
        self.healed = False

    async def ill(self, at: Connection) -> None:
        if self.healed:
            await at.answer("200 OK", pictures.JPEG)
        else:
            await at.answer("503 Service Unavailable")


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with BadServer() as server, pytest.MonkeyPatch.context() as patch:
        web = Web(server)
        patch.setitem(BEHAVIOURS, "/ill", web.ill)
        yield web


def path(row: int) -> str:
    match row % 5:
        case 0 | 1:
            return f"/ill?{row}"
        case 2:
            return f"/not_found?{row}"
        case 3:
            return f"/ill?{row - 3}"  # a duplicate of one that fails at first
        case _:
            return f"/good?{row}"


@pytest.fixture(scope="module")
def fetched(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shard of which much failed."""
    folder = tmp_path_factory.mktemp("fetched")
    (folder / "source").mkdir()
    urls = [web.server.url(path(row)) for row in range(ROWS)]
    table = pa.table({"URL": urls, "TEXT": [f"row {row}" for row in range(ROWS)], "similarity": [0.3] * ROWS})
    pq.write_table(table, folder / "source" / "s.parquet")
    patient = folder / "patient.toml"  # a loaded machine is no timeout
    patient.write_text('base = "demo"\n[fetch]\ntotal_timeout_s = 300.0\nconnect_timeout_s = 300.0\n')
    settings = Settings(
        profile=str(patient), data_dir=str(folder), source=str(folder / "source"), allow_networks=("127.0.0.0/8",)
    )
    web.healed = False
    assert fetch(settings).errors == {}
    web.healed = True
    return settings


@pytest.fixture
def copy(fetched: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(fetched.data_dir, tmp_path / "data")
    return fetched.model_copy(update={"data_dir": str(tmp_path / "data")})


def fetch(settings: Settings, *retry: str) -> ShardOutcome:
    (outcome,) = run_shards(settings, ["s"], NoProgress(), stages=(STAGE,), config={STAGE: {"retry": list(retry)}})
    return outcome


def rows(settings: Settings) -> list[dict[str, Any]]:
    return list(stage_rows(ShardStore(settings.data_dir), STAGE, "s"))


def test_only_rows_of_the_reason_are_asked_for_again(copy: Settings, web: Web) -> None:
    before, asked = rows(copy), web.server.asked.copy()
    file = ShardStore(copy.data_dir).need(STAGE, "s")
    outcome = fetch(copy, "transient")
    assert outcome.errors == {}
    assert outcome.failed_checks == []
    after = rows(copy)
    assert [row["row"] for row in after] == list(range(ROWS))
    for old, new in zip(before, after, strict=True):
        if old["reason"] == "http_5xx":
            assert (new["status"], new["reason"], new["image"]) == ("ok", None, pictures.JPEG)
            assert {name: new[name] for name in ("sample_id", "URL", "TEXT", "similarity")} == {
                name: old[name] for name in ("sample_id", "URL", "TEXT", "similarity")
            }
        else:
            assert new == old
    assert {row["reason"] for row in after} == {None, "http_4xx", "duplicate_url"}
    assert {row["detail"] for row in after if row["reason"] == "duplicate_url"} == {
        f"same URL as row {row['row']}, sample_id {row['sample_id']}" for row in before if row["row"] % 5 == 0
    }
    again = web.server.asked - asked
    assert set(again) == {path(row) for row in range(ROWS) if row % 5 < 2}
    assert set(again.values()) == {1}
    now = ShardStore(copy.data_dir).need(STAGE, "s")
    assert now.key == file.key
    assert now.content != file.content
    assert now.metadata["source_rows"] == ROWS
    (kept,) = now.metadata["refetches"]
    assert (kept["content"], kept["rows"]) == (file.content, ROWS * 2 // 5)
    assert fetch(copy, "http_4xx,timeout").errors == {}
    last = ShardStore(copy.data_dir).need(STAGE, "s").metadata["refetches"]
    assert [each["reasons"] for each in last[1:]] == [["http_4xx", "timeout"]]
    assert last[0] == kept


def test_with_nothing_to_ask_for_the_file_stays(copy: Settings) -> None:
    file = Path(ShardStore(copy.data_dir).path(STAGE, "s").path)
    before = file.stat().st_mtime_ns
    assert fetch(copy, "tls").metadata[STAGE]["skipped"]
    assert file.stat().st_mtime_ns == before


_KILLS_ITSELF = """
import os, signal, sys
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.cli.runner import run_shards
from laion_coco_assets.settings import Settings
from laion_coco_assets.contract.shared_columns import SOURCE
from laion_coco_assets.contract.stage_names import StageName

class Until(NoProgress):
    rows = 0
    def advance(self, rows):
        self.rows += rows
        if self.rows > 550:
            os.kill(os.getpid(), signal.SIGKILL)

settings = Settings.model_validate_json(sys.argv[1])
stages = (StageName.FETCHED_IMAGES,)
list(run_shards(settings, ["s"], Until(), stages=stages, config={stages[0]: {"retry": ["http_5xx"]}}))
"""


def test_a_killed_re_fetch_harms_nothing_and_goes_on(copy: Settings, web: Web, tmp_path: Path) -> None:
    whole = copy.model_copy(update={"data_dir": str(tmp_path / "whole")})
    shutil.copytree(copy.data_dir, whole.data_dir)
    file = Path(ShardStore(copy.data_dir).path(STAGE, "s").path)
    before = file.read_bytes()
    command = [sys.executable, "-c", _KILLS_ITSELF, copy.model_dump_json()]
    killed = subprocess.run(command, check=False, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert file.read_bytes() == before
    assert fetch(copy).metadata[STAGE]["skipped"]  # an ordinary run finds it whole
    asked = web.server.asked.copy()
    assert fetch(copy, "http_5xx").errors == {}
    again = web.server.asked - asked
    assert path(0) not in again
    assert path(ROWS - 5) in again
    fetch(whole, "http_5xx")
    stores = [ShardStore(each.data_dir) for each in (copy, whole)]
    infos = [each.need(STAGE, "s") for each in stores]
    runs = [each.metadata["refetches"][-1].pop("run") for each in infos]
    assert runs[0] != runs[1]
    assert infos[0] == infos[1]
    assert not list((Path(copy.data_dir) / ".checkpoints" / STAGE).glob("s-*"))


def test_parts_that_a_kill_behind_publication_left_are_not_the_next_re_fetchs(
    copy: Settings, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, left = Path(copy.data_dir) / ".checkpoints" / STAGE, tmp_path / "left"
    publish = atomic.publish
    store = ShardStore(copy.data_dir)

    def keep_parts(local: Path, to: UPath) -> None:
        publish(local, to)
        if to == store.path(STAGE, "s"):
            shutil.copytree(parts, left)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "publish", keep_parts)
        before = store.need(STAGE, "s").content
        assert fetch(copy, "http_4xx").errors == {}
    shutil.copytree(left, parts, dirs_exist_ok=True)
    assert store.need(STAGE, "s").content == before  # no row went better
    asked = web.server.asked.copy()
    assert fetch(copy, "http_4xx").errors == {}
    assert set(web.server.asked - asked) == {path(row) for row in range(ROWS) if row % 5 == 2}


def test_a_run_that_tries_again_for_another_shard_asks_for_none_twice(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialise, "WAITS", (0,))
    (tmp_path / "source").mkdir()
    shards = ["a", "b"]
    for shard in shards:
        table = pa.table({"URL": [web.server.url(f"/unavailable?{shard}")], "TEXT": ["text"]})
        pq.write_table(table, tmp_path / "source" / f"{shard}.parquet")
    (tmp_path / "mine.toml").write_text('base = "demo"\nname = "mine"\n')  # with the fetcher that is no demo's
    source = str(tmp_path / "source")
    settings = Settings(
        profile=str(tmp_path / "mine.toml"), data_dir=str(tmp_path), source=source, allow_networks=("127.0.0.0/8",)
    )
    held, planned = ExitStack(), []

    class Source(SourceResource):
        """Lets go of the second shard when it is asked for the second time."""

        def shard(self, key: str) -> SourceShard:
            planned.append(key)
            if planned.count("b") == 2:
                held.close()
            return super().shard(key)

    def run(instance: dg.DagsterInstance, source: SourceResource, *retry: str) -> dg.ExecuteInProcessResult:
        defs = build_defs(settings, {"progress": NoProgress(), "source": source})
        assets = [each for each in defs.assets or () if isinstance(each, dg.AssetsDefinition)]
        return dg.materialize(
            [each for each in assets if each.key.path == [STAGE]],
            instance=instance,
            resources=dict(defs.resources or {}),
            run_config={"ops": {STAGE.value: {"config": {"retry": list(retry)}}}},
            tags={"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"},
            raise_on_error=False,
        )

    store = ShardStore(tmp_path)
    with held, dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SHARDS.name or "", shards)
        assert run(instance, SourceResource(source=source)).success
        held.enter_context(store.lock(StageKey(STAGE, "b", "any")))
        result = run(instance, Source(source=source), "transient")
        assert result.success
        assert sum(event.is_step_up_for_retry for event in result.all_events) == 1
        assert planned == ["a", "b", "a", "b"]
        refetches = {shard: store.need(STAGE, shard).metadata["refetches"] for shard in shards}
        assert [[each["run"] for each in some] for some in refetches.values()] == [[result.run_id]] * 2
        assert run(instance, SourceResource(source=source), "transient").success  # another run asks again
        assert [len(store.need(STAGE, shard).metadata["refetches"]) for shard in shards] == [2, 2]


def test_fetched_rows_are_handed_on_before_their_images_are_many(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laion_coco_assets.fetching.fetched_rows._APPEND_BYTES", 2 * len(pictures.JPEG))
    store = ShardStore(tmp_path)
    given = dict.fromkeys(SOURCE.names)
    with stage_writer(store, StageKey(STAGE, "s", "f")) as writer:
        for row in range(10):
            source = given | {"row": row, "sample_id": f"{row:032x}", "URL": web.server.url(f"/good?again{row}")}
            writer.append([fetched_row(source, Fetched(Reason.TIMEOUT, "no answer in time"), SampleIds())])
    means = FetchDeployment(allow_networks=("127.0.0.0/8",), decode_workers=1)
    with Fetcher(pictures.settings(), means) as fetcher:
        handed_on = list(refetch_shard(store, "s", fetcher, {Reason.TIMEOUT}, 0))
    assert [len(some) for some in handed_on] == [2] * 5
    assert {row["image"] for some in handed_on for row in some} == {pictures.JPEG}


def test_a_file_of_other_settings_is_not_mixed(copy: Settings, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('base = "demo"\n[fetch]\nmin_side = 17\n')
    outcome = fetch(copy.model_copy(update={"profile": str(profile)}), "transient")
    assert "fetch the whole shard first" in outcome.errors[STAGE]
    file = Path(ShardStore(copy.data_dir).path(STAGE, "s").path)
    file.unlink()
    assert "does not exist" in fetch(copy, "transient").errors[STAGE]
