"""After images were asked for again, the models see the new ones alone; all other rows stay bit for bit."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.clip_ranker import ClipRanker
from laion_coco_assets.cli.runner import ShardOutcome, run_shards
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.settings import Settings
from laion_coco_assets.stages.row_order import merged
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.assets.test_refetch import Web
from laion_coco_assets_tests.checks.mutations import first, metadata, rows, tamper
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, BadServer

ROWS = 24
ILL = set(range(0, ROWS, 3))
MODELS = (StageName.BLIP_CANDIDATES, StageName.CLIP_L_TOP5, StageName.RN50X64_FINAL)


def run(settings: Settings, progress: NoProgress | None = None, **arguments: Any) -> ShardOutcome:
    (outcome,) = run_shards(settings, ["s"], progress or NoProgress(), **arguments)
    return outcome


@pytest.fixture(scope="module")
def asked_again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A shard that went through all stages, and of which images came when they were asked for again."""
    folder = tmp_path_factory.mktemp("asked_again")
    with BadServer() as server, pytest.MonkeyPatch.context() as patch:
        web = Web(server)
        patch.setitem(BEHAVIOURS, "/ill", web.ill)
        (folder / "source").mkdir()
        urls = [server.url(f"/ill?{row}" if row in ILL else f"/good?{row}") for row in range(ROWS)]
        table = pa.table({"URL": urls, "TEXT": [f"row {row}" for row in range(ROWS)]})
        pq.write_table(table, folder / "source" / "s.parquet")
        patient = folder / "patient.toml"  # a loaded machine is no timeout
        patient.write_text('base = "demo"\n[fetch]\ntotal_timeout_s = 300.0\nconnect_timeout_s = 300.0\n')
        settings = Settings(
            profile=str(patient), data_dir=str(folder), source=str(folder / "source"), allow_networks=("127.0.0.0/8",)
        )
        assert run(settings).ok
        web.healed = True
        fetch = StageName.FETCHED_IMAGES
        assert run(settings, stages=(fetch,), config={fetch: {"retry": ["transient"]}}).ok
        yield settings


@pytest.fixture
def copy(asked_again: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(asked_again.data_dir, tmp_path / "data")
    return asked_again.model_copy(update={"data_dir": str(tmp_path / "data")})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many images each kind of model was given."""
    counts: Counter[str] = Counter()

    def counted(kind: type, prepare: Callable[..., Any]) -> Callable[..., Any]:
        def count(self: Any, image: Any) -> Any:
            counts[kind.__name__] += 1
            return prepare(self, image)

        return count

    for kind in (BlipCaptioner, ClipRanker):
        monkeypatch.setattr(kind, "prepare", counted(kind, kind.prepare))  # type: ignore[attr-defined]
    return counts


def of_stage(settings: Settings, stage: str) -> dict[int, dict[str, Any]]:
    return {row["row"]: row for row in stage_rows(ShardStore(settings.data_dir), stage, "s")}


def test_the_models_see_the_new_images_alone(copy: Settings, seen: Counter[str]) -> None:
    store = ShardStore(copy.data_dir)
    # What no model would say, so that it is seen to be kept and not made again.
    tamper(store, StageName.CLIP_L_TOP5, rows(first(alt_text_score=0.123)), "s")
    before = {stage: of_stage(copy, stage) for stage in MODELS}
    files = {stage: store.need(stage, "s") for stage in MODELS}
    assert set(before[MODELS[0]]) == set(range(ROWS)) - ILL
    outcome = run(copy)
    assert outcome.ok, outcome
    assert seen == {"BlipCaptioner": len(ILL), "ClipRanker": 2 * len(ILL)}
    for stage in MODELS:
        after = of_stage(copy, stage)
        assert list(after) == list(range(ROWS))
        assert {row: after[row] for row in before[stage]} == before[stage]
        now = store.need(stage, "s").metadata
        assert (now["rows_kept"], now["extends"]) == (ROWS - len(ILL), [files[stage].content])
        assert outcome.metadata[stage]["rows_kept"] == ROWS - len(ILL)
    assert store.need(StageName.PUBLISHED, "s").rows == ROWS


def test_on_another_device_all_is_made_again(copy: Settings, seen: Counter[str]) -> None:
    tamper(ShardStore(copy.data_dir), StageName.BLIP_CANDIDATES, metadata(device="NVIDIA H200 bfloat16"), "s")
    stages = (StageName.FETCHED_IMAGES, *MODELS[:2])
    assert run(copy, stages=stages).ok
    assert seen == {"BlipCaptioner": ROWS, "ClipRanker": ROWS}, (
        "the ranker's rows were made of candidates that are gone"
    )
    assert not any("extends" in ShardStore(copy.data_dir).need(stage, "s").metadata for stage in stages)


class Failing(NoProgress):
    """Breaks off the captioning after so many rows."""

    def __init__(self, rows: int) -> None:
        self.rows, self.now = rows, ""

    def start(self, stage: str, shard: str, total: int, done: int = 0) -> None:
        self.now = stage

    def advance(self, rows: int) -> None:
        self.rows -= rows if self.now == StageName.BLIP_CANDIDATES else 0
        if self.rows < 0:
            raise RuntimeError("the power went")


def test_one_that_broke_off_goes_on_to_the_same_file(copy: Settings, tmp_path: Path) -> None:
    whole = copy.model_copy(update={"data_dir": str(tmp_path / "whole")})
    shutil.copytree(copy.data_dir, whole.data_dir)
    stages = (StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES)
    assert run(whole, stages=stages).ok
    assert "the power went" in run(copy, Failing(7), stages=stages).errors[StageName.BLIP_CANDIDATES]
    parts = [*(Path(copy.data_dir) / ".checkpoints" / StageName.BLIP_CANDIDATES).glob("s-*/*.parquet")]
    assert 7 < sum(pq.read_metadata(part).num_rows for part in parts) < ROWS
    assert run(copy, stages=stages).ok
    files = [ShardStore(each.data_dir).need(StageName.BLIP_CANDIDATES, "s") for each in (copy, whole)]
    assert files[0] == files[1]


def test_none_goes_on_with_what_another_device_began(copy: Settings) -> None:
    store, stage = ShardStore(copy.data_dir), StageName.BLIP_CANDIDATES
    here = store.need(stage, "s").metadata["device"]
    fetch_and_caption = (StageName.FETCHED_IMAGES, stage)
    # What no model would say, so that rows of the file are told from rows that this device made again.
    tamper(store, stage, rows(first(captions=lambda row: [*row["captions"][:-1], "of the file"])), "s")
    kept = of_stage(copy, stage)
    tamper(store, stage, metadata(device="another"), "s")
    assert "the power went" in run(copy, Failing(7), stages=fetch_and_caption).errors[stage]
    tamper(store, stage, metadata(device=here), "s")
    assert run(copy, stages=fetch_and_caption).ok
    assert store.need(stage, "s").metadata["rows_kept"] == len(kept)
    assert {row: of_stage(copy, stage)[row] for row in kept} == kept
    assert not [*(Path(copy.data_dir) / ".checkpoints" / stage).glob("s-*")]


@given(st.lists(st.sampled_from(["kept", "made"]), max_size=40), st.integers(1, 7), st.integers(1, 7))
def test_kept_and_made_rows_come_in_order(origins: list[str], kept_at_once: int, made_at_once: int) -> None:
    own = {name: [i for i, each in enumerate(origins) if each == name] for name in ("kept", "made")}
    table = pa.table({"row": pa.array(own["kept"], pa.int64())})
    made = [
        [{"row": row} for row in own["made"][i : i + made_at_once]] for i in range(0, len(own["made"]), made_at_once)
    ]
    parts = list(merged(iter(table.to_batches(kept_at_once)), iter(made)))
    found = [
        (row["row"], "kept" if isinstance(part, pa.RecordBatch) else "made")
        for part in parts
        for row in (part.to_pylist() if isinstance(part, pa.RecordBatch) else part)
    ]
    assert found == list(enumerate(origins))
