"""`laion-coco clean`: what goes, what never does, and that nothing goes unasked."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import ReusedFile, StageKey
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.store.removed_shards import note_removed, removed_shards
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.cli.test_cli import laion_coco
from laion_coco_assets_tests.contracts import stage_writer
from laion_coco_assets_tests.store.checkpoint_folders import checkpoint_folder

LONG_AGO = 1_000_000_000
BLIP = StageName.BLIP_CANDIDATES


def _left(path: Path, age: int | None = LONG_AGO) -> None:
    """A file, and its folders, as a process left them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(3_000_000))
    if age is not None:
        for each in (path, path.parent):
            os.utime(each, (age, age))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a shard of each fate, leftovers old and new, and one that is being written."""
    store = ShardStore(tmp_path)
    current = fingerprints(load_profile("demo"))
    for shard in ("current", "older", "removed", "restored", "trial"):
        for stage in (*StageName, LEDGER):
            wanted = current[StageName.PUBLISHED if stage == LEDGER else StageName(stage)]
            with stage_writer(store, StageKey(stage, shard, "0" * 32 if shard in ("older", "trial") else wanted)):
                pass
    note_removed(store, ["removed", "restored"])
    os.utime(tmp_path / ".removed" / "restored", (LONG_AGO, LONG_AGO))  # before its files were made
    for shard, age in (("dead", LONG_AGO), ("recent", None), ("busy", LONG_AGO)):
        folder = Path(checkpoint_folder(store, StageKey(BLIP, shard, "f")).path)
        _left(folder / "part-000000000000-000000000010.parquet", age)
    of_a_retry = checkpoint_folder(
        store, StageKey(StageName.FETCHED_IMAGES, "dead", "f"), ReusedFile("content", "timeout")
    )
    _left(Path(of_a_retry.path) / "part", LONG_AGO)
    for shard, age in (("removed", LONG_AGO), ("restored", None)):
        _left(Path(checkpoint_folder(store, StageKey(BLIP, shard, "f")).path) / "part", age)
    _left(tmp_path / "published" / ".writing-abcd" / "README.md")
    _left(tmp_path / ".writing-new" / "whole", None)
    return tmp_path


def _there(data: Path) -> set[str]:
    return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_nothing_goes_unasked_and_then_what_is_left_over(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _there(data)
    assert laion_coco("clean", "--data-dir", str(data), monkeypatch=monkeypatch) == 0
    listed = capsys.readouterr().out
    assert "nothing was deleted, --yes does it" in listed
    assert _there(data) == before
    with ShardStore(data).lock(StageKey(BLIP, "busy", "f")):
        assert laion_coco("clean", "--data-dir", str(data), "--yes", monkeypatch=monkeypatch) == 1
    said = capsys.readouterr()
    assert "busy-" in said.err
    assert "in use, kept" in said.err
    gone = before - _there(data)
    folders = {path.split("/")[0] for path in gone}
    assert folders == {".checkpoints", "published", *(set(StageName) - {StageName.PUBLISHED})}
    kept = ("current", "older", "restored", "recent", "busy", ".writing-new")
    assert not any(name in path for path in gone for name in kept)
    assert {path for path in gone if path.startswith("published")} == {"published/.writing-abcd/README.md"}
    assert {"published/removed.parquet", "ledger/removed.parquet"} < _there(data)
    assert "3.0 MB  temporary" in said.out
    assert "checkpoint: 2, 6.0 MB" in said.out
    everything = {line.split()[-1] for line in listed.splitlines() if "/" in line}
    deleted = {line.split()[-1] for line in said.out.splitlines() if "/" in line}
    assert {each.rsplit("-", 1)[0] for each in everything - deleted} == {f".checkpoints/{BLIP}/busy"}
    assert {path for path in gone if not any(path.startswith(each) for each in deleted)} == set()


def test_files_of_other_settings_go_when_a_profile_says_which_are_wanted(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in data.glob("*/older.parquet"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    before = _there(data)
    arguments = ("clean", "--data-dir", str(data), "--profile", "demo", "--yes")
    with ShardStore(data).lock(StageKey(StageName.RN50X64_FINAL, "older", "")):  # who makes a stage reads those before
        assert laion_coco(*arguments, monkeypatch=monkeypatch) == 1
    assert {path for path in before if "older" in path} <= _there(data)
    assert laion_coco(*arguments, monkeypatch=monkeypatch) == 0
    gone = {path for path in before - _there(data) if "older" in path}
    assert gone == {f"{stage}/older.parquet" for stage in StageName if stage != StageName.PUBLISHED}
    assert all(path in _there(data) for path in before if "current" in path)
    assert {f"{stage}/trial.parquet" for stage in StageName} <= _there(data)  # new: it may be under way


def test_a_removed_shard_that_is_run_again_is_no_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"URL": ["no URL"], "TEXT": ["x"]}), tmp_path / "s.parquet")
    source = ("--source", str(tmp_path / "s.parquet"), "--data-dir", str(tmp_path / "data"))
    store = ShardStore(tmp_path / "data")
    for _ in ("made", "skipped"):
        note_removed(store, ["s"])
        assert laion_coco("fetch", *source, monkeypatch=monkeypatch) == 0
        assert removed_shards(store) == set()
    capsys.readouterr()
    assert laion_coco("clean", "--data-dir", str(store.root), monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "nothing to delete\n"


def test_a_folder_with_nothing_to_delete_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert laion_coco("clean", "--data-dir", str(tmp_path), "--yes", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "nothing to delete\n"
    assert laion_coco("clean", "--data-dir", str(tmp_path / "none"), monkeypatch=monkeypatch) == 2
    assert "no such folder" in capsys.readouterr().err
