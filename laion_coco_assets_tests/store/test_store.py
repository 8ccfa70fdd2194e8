"""A stage file appears whole or not at all; a killed run resumes; where parts were cut leaves no trace."""

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.contract.stage_info import ReusedFile, StageKey
from laion_coco_assets.errors import StoreError
from laion_coco_assets.store import writer as writer_module
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.contracts import stage_writer
from laion_coco_assets_tests.store.checkpoint_folders import checkpoint_folder

KEY = StageKey("fetched_images", "s0", "f" * 32, {"source": "d" * 32})


def row(i: int) -> dict[str, object]:
    image = bytes([i % 256]) * (1000 + i)
    return {"row": i, "sample_id": f"{i:032x}", "URL": f"http://x/{i}", "TEXT": None, "status": "ok", "image": image}


ROWS = [row(i) for i in range(250)]


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path if request.param == "local" else f"memory://{tmp_path.name}-{os.getpid()}")


def write(store: ShardStore, key: StageKey = KEY, step: int = 10) -> None:
    with stage_writer(store, key) as writer:
        for start in range(writer.done, len(ROWS), step):
            writer.append(ROWS[start : start + step])


def encodings(file: Path) -> dict[str, tuple[str, bool]]:
    """Of each column's first chunk: how it is compressed, and whether it has a dictionary."""
    group = pq.ParquetFile(file).metadata.row_group(0)
    chunks = [group.column(i) for i in range(group.num_columns)]
    return {each.path_in_schema: (each.compression, each.has_dictionary_page) for each in chunks}


def test_a_file_says_what_it_was_made_with_and_holds_the_rows(store: ShardStore) -> None:
    write(store)
    info = store.need(KEY.stage, KEY.shard)
    assert info.key == KEY
    assert info.rows == len(ROWS)
    rows = [each for batch in store.batches(KEY.stage, KEY.shard, ["row", "image"]) for each in batch.to_pylist()]
    assert rows == [{"row": each["row"], "image": each["image"]} for each in ROWS]
    assert store.is_complete(KEY)
    assert store.shards(KEY.stage) == ["s0"]


def test_other_settings_or_inputs_are_not_complete(store: ShardStore) -> None:
    write(store)
    assert not store.is_complete(StageKey(KEY.stage, KEY.shard, "e" * 32, KEY.inputs))
    assert not store.is_complete(StageKey(KEY.stage, KEY.shard, KEY.fingerprint, {"source": "other"}))
    assert not store.is_complete(StageKey(KEY.stage, "s1", KEY.fingerprint, KEY.inputs))


@pytest.mark.parametrize("interrupted_at", [1, 7, 100, 101, 249])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_resumed_file_equals_an_uninterrupted_one(
    tmp_path: Path, interrupted_at: int, error: type[BaseException]
) -> None:
    whole, resumed = ShardStore(tmp_path / "whole"), ShardStore(tmp_path / "resumed")
    write(whole)
    with pytest.raises(error), stage_writer(resumed, KEY) as writer:  # noqa: PT012
        writer.append(ROWS[:interrupted_at])
        raise error
    assert not resumed.path(KEY.stage, KEY.shard).exists()
    with stage_writer(resumed, KEY) as writer:
        assert writer.done == interrupted_at
        writer.append(ROWS[writer.done :])
    paths = [Path(each.path(KEY.stage, KEY.shard).path) for each in (whole, resumed)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not checkpoint_folder(resumed, KEY).exists()


def test_image_bytes_are_stored_as_they_are_in_checkpoints_and_in_the_file(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with pytest.raises(KeyboardInterrupt), stage_writer(store, KEY) as writer:  # noqa: PT012
        writer.append(ROWS[:100])
        raise KeyboardInterrupt
    (part,) = (Path(each.path) for each in checkpoint_folder(store, KEY).iterdir())
    found = [encodings(part)]
    write(store)
    found.append(encodings(Path(store.path(KEY.stage, KEY.shard).path)))
    for columns in found:
        assert columns["image"] == ("UNCOMPRESSED", False)
        assert columns["URL"] == ("ZSTD", True)


def _write_until_killed(data_dir: Path, reached: "multiprocessing.synchronize.Event") -> None:
    writer_module._CHECKPOINT_ROWS = 20
    with stage_writer(ShardStore(data_dir), KEY) as writer:
        writer.append(ROWS[:50])
        writer.append(ROWS[50:60])
        reached.set()
        signal.pause()


def test_a_killed_process_leaves_its_checkpoints_and_frees_the_shard(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    reached = context.Event()
    child = context.Process(target=_write_until_killed, args=(tmp_path, reached))
    child.start()
    assert reached.wait(60)
    store = ShardStore(tmp_path)
    with pytest.raises(StoreError, match="another process"):
        stage_writer(store, KEY).__enter__()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join(60)
    with stage_writer(store, KEY) as writer:
        assert writer.done == 50
        writer.append(ROWS[writer.done :])
    whole = ShardStore(tmp_path / "whole")
    write(whole)
    assert store.need(KEY.stage, KEY.shard).content == whole.need(KEY.stage, KEY.shard).content


def test_a_damaged_part_is_done_again(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with pytest.raises(RuntimeError), stage_writer(store, KEY) as writer:  # noqa: PT012
        writer.append(ROWS[:10])
        raise RuntimeError
    (part,) = checkpoint_folder(store, KEY).iterdir()
    Path(part.path).write_bytes(b"PAR1")
    (checkpoint_folder(store, KEY) / "part--1.parquet").touch()
    with stage_writer(store, KEY) as writer:
        assert writer.done == 0
        writer.append(ROWS)
    assert store.need(KEY.stage, KEY.shard).rows == len(ROWS)


def test_what_another_process_finished_meanwhile_is_left_alone(store: ShardStore) -> None:
    write(store)
    with stage_writer(store, KEY) as writer:
        assert writer.complete
    assert store.need(KEY.stage, KEY.shard).rows == len(ROWS)


def test_checkpoints_of_other_settings_are_not_resumed(store: ShardStore) -> None:
    old = StageKey(KEY.stage, KEY.shard, "0" * 32, KEY.inputs)
    with pytest.raises(RuntimeError), stage_writer(store, old) as writer:  # noqa: PT012
        writer.append(ROWS[:10])
        raise RuntimeError
    with stage_writer(store, KEY) as writer:
        assert writer.done == 0
        writer.append(ROWS)
    assert not checkpoint_folder(store, old).exists()


def test_a_complete_file_is_replaced_whole_from_parts_of_one_selection(store: ShardStore) -> None:
    write(store)
    before = store.need(KEY.stage, KEY.shard)
    first, second = (ReusedFile(before.content, selection) for selection in ("dns", "tls"))
    with pytest.raises(RuntimeError), stage_writer(store, KEY, first) as writer:  # noqa: PT012
        writer.append(ROWS[:10])
        raise RuntimeError
    assert store.need(KEY.stage, KEY.shard) == before
    with pytest.raises(RuntimeError), stage_writer(store, KEY, first) as writer:  # noqa: PT012
        assert (writer.complete, writer.done) == (False, 10)
        raise RuntimeError
    stage_writer(store, KEY)  # complete: nothing happens
    with pytest.raises(RuntimeError), stage_writer(store, KEY, second) as writer:  # noqa: PT012
        assert writer.done == 0
        raise RuntimeError
    with pytest.raises(RuntimeError), stage_writer(store, KEY, first) as writer:  # noqa: PT012
        assert writer.done == 10  # the other selection took nothing from it
        raise RuntimeError
    with stage_writer(store, KEY, second) as writer:
        assert writer.done == 0
        writer.append(ROWS[:-1])
    after = store.need(KEY.stage, KEY.shard)
    assert (after.key, after.rows) == (KEY, len(ROWS) - 1)
    with stage_writer(store, KEY, second) as writer:
        assert writer.complete  # what was to be replaced is gone
    with pytest.raises(RuntimeError), stage_writer(store, KEY, ReusedFile(after.content, "dns")) as writer:  # noqa: PT012
        assert writer.done == 0
        raise RuntimeError
    assert not checkpoint_folder(store, KEY, first).exists()  # nor are its parts of any more use


def test_row_groups_stream(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    write(store)
    with store.open(KEY.stage, KEY.shard) as file:
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        assert [each.num_rows for each in groups] == [100, 100, 50]
        columns = {groups[0].column(i).path_in_schema: groups[0].column(i) for i in range(groups[0].num_columns)}
        assert columns["image"].compression == "UNCOMPRESSED"
        assert columns["URL"].compression == "ZSTD"


def test_duckdb_reads_the_fingerprint(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    write(store)
    query = "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'laion_coco.fingerprint'"
    assert duckdb.execute(query, [store.path(KEY.stage, KEY.shard).path]).fetchall() == [("f" * 32,)]


def test_a_missing_a_damaged_and_a_foreign_file_are_told_apart(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    assert store.info(KEY.stage, KEY.shard) is None
    with pytest.raises(StoreError, match="materialise fetched_images of shard s0 first"):
        store.need(KEY.stage, KEY.shard)
    write(store)
    path = Path(store.path(KEY.stage, KEY.shard).path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match="not a whole parquet file"):
        store.info(KEY.stage, KEY.shard)
    assert not store.is_complete(KEY)
    pq.write_table(pq.read_table(_foreign(tmp_path)), path)
    with pytest.raises(StoreError, match="not written by this project"):
        store.info(KEY.stage, KEY.shard)


def _foreign(folder: Path) -> Path:
    path = folder / "foreign.parquet"
    duckdb.execute(f"COPY (SELECT 1 AS a) TO '{path}' (FORMAT parquet)")
    return path


def test_a_file_from_other_inputs_is_told_from_one_with_other_settings(store: ShardStore) -> None:
    assert not store.made_from_other(KEY)
    write(store)
    assert not store.made_from_other(replace(KEY, fingerprint="e" * 32))
    assert store.made_from_other(replace(KEY, inputs={"source": "e" * 32}))
