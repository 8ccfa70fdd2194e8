"""Every rule passes on what the stages make, and each catches what it is there for."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.checks.results import Status
from laion_coco_assets.checks.rules import Severity, all_rules
from laion_coco_assets.checks.run import check_across, check_shard
from laion_coco_assets.shards.fingerprint import fingerprints
from laion_coco_assets.shards.profile import load_profile
from laion_coco_assets.shards.schemas import LEDGER, Stage
from laion_coco_assets.shards.store import ShardStore
from laion_coco_assets_tests.conftest import DemoRun

Row = dict[str, Any]
Rows = list[Row]
SHARD = "demo-00000"


@pytest.fixture
def copy(demo: DemoRun, tmp_path: Path) -> ShardStore:
    """The demo's files, to be tampered with."""
    shutil.copytree(demo.folder, tmp_path / "data")
    return ShardStore(tmp_path / "data")


#: A change of a stage file's rows and of what the file says of itself.
Change = Callable[[pa.Table, dict[str, str]], pa.Table]


def tamper(store: ShardStore, stage: str, change: Change, shard: str = SHARD) -> None:
    """Change a stage file; what it says of itself is kept but for what `change` does to it."""
    path = store.path(stage, shard).path
    with pq.ParquetFile(path) as file:
        table = file.read()
        said = {name.decode(): value.decode() for name, value in file.metadata.metadata.items()}
    del said["ARROW:schema"]
    table = change(table, said)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(said)


def table(change: Callable[[pa.Table], pa.Table]) -> Change:
    """A change of the table alone."""
    return lambda found, _: change(found)


def rows(edit: Callable[[Rows], None]) -> Change:
    """A change of the rows alone."""

    def change(found: pa.Table, _: dict[str, str]) -> pa.Table:
        edited = found.to_pylist()
        edit(edited)
        return pa.Table.from_pylist(edited, schema=found.schema)

    return change


def metadata(**values: str) -> Change:
    """A change of what a file says of itself."""

    def change(found: pa.Table, said: dict[str, str]) -> pa.Table:
        said.update({f"laion_coco.{name}": value for name, value in values.items()})
        return found

    return change


def first(condition: Callable[[Row], Any] = lambda _: True, **values: Any) -> Callable[[Rows], None]:
    """Set values of the first row for which the condition holds."""

    def edit(found: Rows) -> None:
        row = next(each for each in found if condition(each))
        row.update({name: value(row) if callable(value) else value for name, value in values.items()})

    return edit


def swap(one: int, other: int) -> Callable[[Rows], None]:
    def edit(found: Rows) -> None:
        found[one], found[other] = found[other], found[one]

    return edit


def every(**values: Any) -> Callable[[Rows], None]:
    def edit(found: Rows) -> None:
        for row in found:
            row.update(values)

    return edit


def without_last(found: Rows) -> None:
    del found[-1]


def ok(row: Row) -> bool:
    return row["status"] == "ok"


#: For each rule a file to tamper with, and how: what the rule must catch.
MUTATIONS: dict[str, tuple[str, Change]] = {
    "fetched_images_columns": (Stage.FETCHED_IMAGES, table(lambda found: found.drop_columns(["final_url"]))),
    "fetched_images_content": (Stage.FETCHED_IMAGES, rows(first(ok, image=lambda row: row["image"] + b"!"))),
    "fetched_images_every_source_row": (Stage.FETCHED_IMAGES, rows(swap(0, 1))),
    "fetched_images_fingerprint": (Stage.FETCHED_IMAGES, metadata(fingerprint="0" * 32)),
    "fetched_images_once_per_url": (Stage.FETCHED_IMAGES, rows(first(lambda row: row["reason"] == "duplicate_url", reason="timeout"))),
    "fetched_images_reason": (Stage.FETCHED_IMAGES, rows(first(lambda row: not ok(row), reason="bad luck"))),
    "fetched_images_sample_id": (Stage.FETCHED_IMAGES, rows(first(sample_id="0" * 32))),
    "fetched_images_success": (Stage.FETCHED_IMAGES, rows(every(status="rejected", reason="dns", image=None, sha256=None))),
    "blip_candidates_columns": (Stage.BLIP_CANDIDATES, table(lambda found: found.rename_columns(["row", "sample_id", "texts", *found.column_names[3:]]))),
    "blip_candidates_every_image": (Stage.BLIP_CANDIDATES, rows(without_last)),
    "blip_candidates_fingerprint": (Stage.BLIP_CANDIDATES, metadata(inputs='{"fetched_images": "another"}')),
    "blip_candidates_lists": (Stage.BLIP_CANDIDATES, rows(first(multiplicities=lambda row: [41] * len(row["captions"])))),
    "blip_candidates_reproducible": (Stage.BLIP_CANDIDATES, metadata(models="{}")),
    "clip_l_top5_all_scores": (Stage.CLIP_L_TOP5, rows(first(scores=lambda row: [*row["scores"][:-1], None]))),
    "clip_l_top5_best": (Stage.CLIP_L_TOP5, rows(first(lambda row: len(row["top"]) > 1, top=lambda row: row["top"][::-1]))),
    "clip_l_top5_columns": (Stage.CLIP_L_TOP5, table(lambda found: found.append_column("more", pa.nulls(len(found))))),
    "clip_l_top5_every_image": (Stage.CLIP_L_TOP5, rows(without_last)),
    "clip_l_top5_fingerprint": (Stage.CLIP_L_TOP5, metadata(fingerprint="0" * 32)),
    "rn50x64_final_columns": (Stage.RN50X64_FINAL, table(lambda found: found.drop_columns(["alt_text_score"]))),
    "rn50x64_final_every_image": (Stage.RN50X64_FINAL, rows(swap(0, 1))),
    "rn50x64_final_fingerprint": (Stage.RN50X64_FINAL, metadata(fingerprint="0" * 32)),
    "rn50x64_final_winner": (Stage.RN50X64_FINAL, rows(first(caption="another"))),
    "ledger_columns": (LEDGER, table(lambda found: found.drop_columns(["detail"]))),
    "published_all_scores": (Stage.PUBLISHED, rows(first(rn50x64_similarities=lambda row: row["rn50x64_similarities"][:-1]))),
    "published_captions": (Stage.PUBLISHED, rows(first(top_caption="another"))),
    "published_carried_over": (Stage.PUBLISHED, rows(first(WIDTH=1))),
    "published_columns": (Stage.PUBLISHED, table(lambda found: found.select([found.num_columns - 1, *range(found.num_columns - 1)]))),
    "published_fingerprint": (Stage.PUBLISHED, metadata(fingerprint="0" * 32)),
    "published_ledger_agrees": (LEDGER, rows(first(lambda row: row["reason"] == "http_4xx", reason="dns"))),
    "published_ledger_reasons": (LEDGER, rows(first(lambda row: row["reason"], reason="bad luck"))),
    "published_matches_ledger": (Stage.PUBLISHED, rows(first(sample_id="0" * 32))),
    "published_nothing_vanishes": (LEDGER, rows(without_last)),
    "published_repetition": (Stage.PUBLISHED, rows(every(top_caption="a hat on top of a hat"))),
    "published_row_fingerprint": (Stage.PUBLISHED, rows(first(fingerprint="0" * 32))),
}  # fmt: skip

ACROSS: dict[str, tuple[str, Callable[[Rows], None]]] = {
    "blip_candidates_same_everywhere": (Stage.BLIP_CANDIDATES, first(multiplicities=lambda row: row["multiplicities"][::-1], captions=lambda row: row["captions"][::-1])),
    "published_once_across_shards": (Stage.PUBLISHED, every()),
}  # fmt: skip


#: A rule about a list beside the files; assets/test_removals.py breaks it.
IN_TEST_REMOVALS = ["published_removals"]


def test_every_rule_passes_on_what_the_stages_make(demo: DemoRun) -> None:
    expected = fingerprints(load_profile("demo"))
    results = [each for shard in demo.shards for each in check_shard(demo.store, shard, all_rules(), expected)]
    results += check_across(demo.store, demo.shards, all_rules())
    assert {(each.rule.name, each.shard): each.offenders for each in results if each.status != Status.PASSED} == {}
    assert {each.rule.name for each in results} == {rule.name for rule in all_rules()}


def test_every_rule_has_a_mutation() -> None:
    assert {rule.name for rule in all_rules()} == {*MUTATIONS, *ACROSS, *IN_TEST_REMOVALS}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_rule_catches_its_violation(copy: ShardStore, name: str) -> None:
    stage, change = MUTATIONS[name]
    tamper(copy, stage, change)
    results = check_shard(copy, SHARD, all_rules(), fingerprints(load_profile("demo")))
    caught = {each.rule.name: each for each in results if each.status == Status.FAILED}
    assert name in caught
    assert caught[name].count >= 1
    assert all(each.expected and each.actual for each in caught[name].offenders)
    assert all(each.status == Status.PASSED for each in check_shard(copy, "demo-00001", all_rules()))


@pytest.mark.parametrize("name", ACROSS)
def test_a_rule_across_shards_catches_its_violation(copy: ShardStore, name: str) -> None:
    stage, edit = ACROSS[name]
    for each in (Stage.FETCHED_IMAGES, Stage.BLIP_CANDIDATES, Stage.PUBLISHED):
        shutil.copy(copy.path(each, SHARD).path, copy.path(each, "again").path)
        tamper(copy, each, metadata(shard="again"), "again")
    tamper(copy, stage, rows(edit), "again")
    results = check_across(copy, [SHARD, "again"], all_rules())
    assert next(each for each in results if each.rule.name == name).status == Status.FAILED


def test_a_file_that_is_not_there_is_skipped_with_its_name(copy: ShardStore) -> None:
    Path(copy.path(Stage.FETCHED_IMAGES, SHARD).path).unlink()
    results = {each.rule.name: each for each in check_shard(copy, SHARD, all_rules())}
    assert results["published_carried_over"].status == Status.SKIPPED
    assert results["published_carried_over"].why == "no file of fetched_images"
    assert results["published_captions"].status == Status.PASSED


def test_published_without_its_ledger_is_a_violation(copy: ShardStore) -> None:
    Path(copy.path(LEDGER, SHARD).path).unlink()
    results = {each.rule.name: each for each in check_shard(copy, SHARD, all_rules())}
    assert results["published_nothing_vanishes"].status == Status.FAILED
    assert "a ledger" in results["published_nothing_vanishes"].offenders[0].expected


def test_a_damaged_page_is_a_violation_not_a_crash(copy: ShardStore) -> None:
    path = Path(copy.path(Stage.PUBLISHED, SHARD).path)
    content = bytearray(path.read_bytes())
    content[10:200] = bytes(190)
    path.write_bytes(content)
    failed = [each for each in check_shard(copy, SHARD, all_rules()) if each.status == Status.FAILED]
    assert "published_carried_over" in {each.rule.name for each in failed}


def test_a_foreign_file_does_not_keep_the_others_from_being_compared(copy: ShardStore) -> None:
    tamper(copy, Stage.BLIP_CANDIDATES, table(lambda found: found.drop_columns(["captions"])))
    results = check_across(copy, [SHARD, "demo-00001"], all_rules())
    assert {each.status for each in results} == {Status.PASSED}


def test_a_damaged_file_fails_every_rule_that_reads_it(copy: ShardStore) -> None:
    path = Path(copy.path(Stage.PUBLISHED, SHARD).path)
    path.write_bytes(path.read_bytes()[:-20])
    results = check_shard(copy, SHARD, all_rules())
    failed = {each.rule.name for each in results if each.status == Status.FAILED}
    assert failed == {rule.name for rule in all_rules() if Stage.PUBLISHED in rule.needs and not rule.all_shards}


def test_rules_are_described_and_graded() -> None:
    for rule in all_rules():
        assert rule.description.endswith("."), rule.name
        assert rule.severity in Severity
        assert rule.name.startswith((rule.stage, LEDGER))
