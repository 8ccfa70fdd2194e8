"""Every rule passes on what the stages make, and each catches what it is there for."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.checks import rules as rules_module
from laion_coco_assets.checks.check_files import check_across, check_shard
from laion_coco_assets.checks.drift import Drift
from laion_coco_assets.checks.results import ALL_SHARDS, Status
from laion_coco_assets.checks.rules import Scope, Severity, all_rules
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import LEDGER, STAGE_FOLDERS, StageName
from laion_coco_assets.errors import StoreUnavailableError
from laion_coco_assets.orchestration.metadata import shard_metadata
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.checks.mutations import (
    ACROSS,
    DRIFTS,
    FURTHER,
    IN_GIT,
    MUTATIONS,
    SHARD,
    STALE,
    Change,
    metadata,
    nulled,
    one_ranker,
    plant,
    rows,
    table,
    tamper,
)
from laion_coco_assets_tests.cli.test_cli import laion_coco
from laion_coco_assets_tests.conftest import DemoRun
from laion_coco_assets_tests.dagster_server import ROOT
from laion_coco_assets_tests.stage_runs import stage_of


@pytest.fixture
def copy(demo: DemoRun, tmp_path: Path) -> ShardStore:
    """The demo's files, to be tampered with."""
    shutil.copytree(demo.folder, tmp_path / "data")
    return ShardStore(tmp_path / "data")


FETCHED_AGAIN = "fetched again, the models have not run since"
#: About a list beside the files; assets/test_removals.py breaks it.
BY_LIST = ["published_removals"]


def test_every_rule_passes_on_what_the_stages_make(demo: DemoRun) -> None:
    expected = fingerprints(load_profile("demo"))
    results = [each for shard in demo.shards for each in check_shard(demo.store, shard, all_rules(), expected)]
    results += check_across(demo.store, demo.shards, all_rules())
    rules = {rule.name for rule in all_rules() if rule.scope != Scope.EARLIER}  # test_drift.py
    assert {(each.rule.name, each.shard): each.offenders for each in results if each.status != Status.PASSED} == {}
    assert {each.rule.name for each in results} == rules


@pytest.mark.parametrize("name", ["demo-0000?", "demo-*", "demo-[0-9]", "demo-]["])
def test_a_shard_whose_name_looks_like_a_pattern_is_checked_by_its_own_files(
    demo: DemoRun, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "[a-z]*"
    shutil.copytree(demo.folder, folder)
    store = ShardStore(folder)
    for stage in (*StageName, LEDGER):
        Path(store.path(stage, demo.shards[0]).path).rename(store.path(stage, name).path)
    rules = [rule for rule in all_rules() if rule.scope == Scope.SHARD]
    results = check_shard(store, name, rules) + check_across(store, [name, demo.shards[1]], all_rules())
    assert {each.rule.name: each.offenders for each in results if each.status != Status.PASSED} == {}
    (drift,) = {
        each.why for each in Drift(store).check_shard(name, all_rules()) if each.rule.stage == StageName.PUBLISHED
    }
    assert "fewer than" in drift  # it was measured, and has too few beside it


@pytest.mark.parametrize("below", ["lang=en", "row=5/sample_id=x/shard=y/status=z", 'it\'s="*"/[a]=?'])
def test_a_folder_that_looks_like_a_column_or_a_pattern_is_neither(demo: DemoRun, tmp_path: Path, below: str) -> None:
    """Rules, drift and figures are those of the same files elsewhere."""
    shutil.copytree(demo.folder, tmp_path / "out" / below)
    store = ShardStore(tmp_path / "out" / below)
    expected = fingerprints(load_profile("demo"))
    for shard in demo.shards:
        assert check_shard(store, shard, all_rules(), expected) == check_shard(demo.store, shard, all_rules(), expected)
        assert Drift(store).check_shard(shard, all_rules()) == Drift(demo.store).check_shard(shard, all_rules())
        for stage in StageName:
            figures, others = (shown(each, stage, shard) for each in (store, demo.store))
            assert figures == others
    assert check_across(store, demo.shards, all_rules()) == check_across(demo.store, demo.shards, all_rules())


def shown(store: ShardStore, stage: StageName, shard: str) -> dict[str, object]:
    """What the UI shows of a shard, without where its file lies."""
    metadata = shard_metadata(stage_of(store, stage, shard), store.need(stage, shard), made=None, seconds=0.0)
    return {name: value for name, value in metadata.items() if name != "dagster/uri"}


@pytest.mark.parametrize("key", ["description", "severity", "stage", "floor", "k"])
def test_a_rule_file_without_a_key_is_an_error_that_names_both(key: str) -> None:
    header = {"description": "Any.", "severity": "warn", "stage": "published", "scope": "earlier shards"}
    header |= {"floor": "1", "k": "5"}

    def text() -> str:
        return "".join(f"-- {name}: {value}\n" for name, value in header.items()) + "SELECT 1"

    assert rules_module._rule("mine", text(), STAGE_FOLDERS).name == "mine"
    value = header.pop(key)
    with pytest.raises(ValueError, match=rf"^mine\.sql: its header has no `{key}`: add a line `-- {key}: \.\.\.`$"):
        rules_module._rule("mine", text(), STAGE_FOLDERS)
    if key != "description":
        header[key] = f"not {value}"
        with pytest.raises(ValueError, match=rf"^mine\.sql: `{key}` in its header: .*not {value}"):
            rules_module._rule("mine", text(), STAGE_FOLDERS)


def test_every_rule_has_a_mutation() -> None:
    assert {rule.name for rule in all_rules()} == {
        *MUTATIONS,
        *STALE,
        *ACROSS,
        *DRIFTS,
        *BY_LIST,
        *(each.rule for each in FURTHER.values()),
    }


@pytest.mark.parametrize("name", [*MUTATIONS, *ACROSS, *DRIFTS, *FURTHER])
def test_a_violation_is_caught_by_exactly_its_rule(
    name: str, copy: ShardStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (rule,) = [each for each in all_rules() if each.name == (FURTHER[name].rule if name in FURTHER else name)]
    plant(copy, name)
    code = laion_coco("check", "--data-dir", str(copy.root), "--profile", "demo", monkeypatch=monkeypatch)
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines() if "\t" in line]
    offenders = [dict(zip(printed[0], line, strict=True)) for line in printed[1:]]
    assert {each["rule"] for each in offenders} == {rule.name}
    assert {each["shard"] for each in offenders} == {ALL_SHARDS if rule.scope == Scope.ALL else SHARD}
    assert all(each["expected"] and each["actual"] for each in offenders)
    assert code == (1 if rule.severity == Severity.ERROR else 0)


@pytest.mark.parametrize("name", STALE)
def test_a_stale_file_is_one_finding_of_exactly_its_rule(
    name: str, copy: ShardStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(copy, name)
    results = check_shard(copy, SHARD, all_rules(), fingerprints(load_profile("demo")))
    assert {each.rule.name for each in results if not each.is_ok} == {name}
    (stale,) = [each for each in results if each.status == Status.STALE]
    assert stale.offenders
    settings = "made with other settings than this profile's"
    assert stale.why == (FETCHED_AGAIN if "fetched_images " in stale.offenders[0].expected else settings)
    arguments = ("check", "--data-dir", str(copy.root), "--profile", "demo")
    assert laion_coco(*arguments, monkeypatch=monkeypatch) == 3
    printed = capsys.readouterr().out
    assert f"stale: {SHARD}: {stale.why} ({stale.rule.stage})\n" in printed
    assert "\t" not in printed
    assert laion_coco(*arguments, "--stale", "warn", monkeypatch=monkeypatch) == 0


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        *((stage, nulled("row")) for stage in (*list(StageName)[:-1], LEDGER)),
        (StageName.FETCHED_IMAGES, nulled("URL")),
        (StageName.BLIP_CANDIDATES, nulled("captions")),
        (StageName.CLIP_L_TOP5, nulled("scores")),
        (StageName.CLIP_L_TOP5, nulled("top")),
        (StageName.RN50X64_FINAL, metadata(settings="null")),
        (StageName.PUBLISHED, nulled("top_caption")),
        (StageName.PUBLISHED, nulled("sample_id")),
        (LEDGER, nulled("stage")),
    ],
)
def test_a_violation_is_told_whatever_is_null(stage: str, change: Change, copy: ShardStore) -> None:
    tamper(copy, stage, change)
    offenders = [offender for each in check_shard(copy, SHARD, all_rules()) for offender in each.offenders]
    assert offenders
    assert [each for each in offenders if not (each.expected and each.actual)] == []
    assert "a file that can be read" not in {each.expected for each in offenders}


def test_the_workflow_checks_what_a_repository_holds_and_fails_with_it(copy: ShardStore, tmp_path: Path) -> None:
    """With the folder that it ships with, made as its comment says, in a repository that ignores what this one does."""
    text = (ROOT / "docs" / "checks-workflow.yml").read_text()
    workflow = yaml.safe_load(text)
    (job,) = workflow["jobs"].values()
    (command,) = [step["run"] for step in job["steps"] if "laion-coco check" in step.get("run", "")]
    settings = {name: str(value) for name, value in workflow["env"].items()}
    assert set(settings) == {"DATA_DIR", "PROFILE"}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, **settings, "PATH": path, "PROFILE": "demo"}
    repository = tmp_path / "repository"
    shutil.copytree(copy.root, repository / "data")
    shutil.copy(ROOT / ".gitignore", repository)
    subprocess.run(["git", "init", "--quiet"], check=True, cwd=repository)

    def run(script: str) -> subprocess.CompletedProcess[str]:
        shell = ["bash", "-e", "-c", script]
        return subprocess.run(shell, check=False, env=environment, cwd=repository, capture_output=True, text=True)

    said = [line.removeprefix("  #   ") for line in text.splitlines() if line.startswith("  #   ")]
    made = run("\n".join(said).replace("part-0000", "demo-0000"))
    assert made.returncode == 0, made.stderr
    checked_out = run("git ls-files | grep parquet").stdout.split()
    assert f"{settings['DATA_DIR']}/published/{SHARD}.parquet" in checked_out
    shutil.rmtree(repository / "data")
    passed = run(command)
    assert passed.returncode == 0, passed.stdout
    plant(ShardStore(repository / settings["DATA_DIR"]), "published_captions")
    failed = run(command)
    assert failed.returncode == 1
    assert "published_captions\tdemo-00000\t" in failed.stdout


def test_what_one_ranker_decided_breaks_no_rule(copy: ShardStore) -> None:
    tamper(copy, StageName.PUBLISHED, rows(one_ranker))
    for stage in set(StageName).difference(IN_GIT):
        Path(copy.path(stage, SHARD).path).unlink()
    results = check_shard(copy, SHARD, all_rules())
    assert {each.rule.name: each.offenders for each in results if each.status == Status.FAILED} == {}
    assert {each.rule.name for each in results if each.status == Status.PASSED} >= {
        "published_captions",
        "published_scores",
    }


def test_a_ledger_row_of_another_sample_is_told_as_one(copy: ShardStore) -> None:
    plant(copy, "another sample_id of what is rejected")
    (found,) = [each for each in check_shard(copy, SHARD, all_rules()) if each.status == Status.FAILED]
    ((expected, actual),) = [(each.expected, each.actual) for each in found.offenders]
    assert expected.startswith("sample_id ")
    assert actual.endswith(": sample_id " + "0" * 32)


def test_a_file_that_is_not_there_is_skipped_with_its_name(copy: ShardStore) -> None:
    Path(copy.path(StageName.FETCHED_IMAGES, SHARD).path).unlink()
    results = {each.rule.name: each for each in check_shard(copy, SHARD, all_rules())}
    assert results["published_carried_over"].status == Status.SKIPPED
    assert results["published_carried_over"].why == "no file of fetched_images"
    assert results["published_captions"].status == Status.PASSED


def test_published_without_its_ledger_is_a_violation(copy: ShardStore) -> None:
    Path(copy.path(LEDGER, SHARD).path).unlink()
    results = {each.rule.name: each for each in check_shard(copy, SHARD, all_rules())}
    assert results["published_nothing_vanishes"].status == Status.FAILED
    assert "a ledger" in results["published_nothing_vanishes"].offenders[0].expected


def test_a_ledger_without_what_it_says_is_published_is_a_violation(copy: ShardStore) -> None:
    Path(copy.path(StageName.PUBLISHED, SHARD).path).unlink()
    results = {each.rule.name: each for each in check_shard(copy, SHARD, all_rules())}
    assert results["published_nothing_vanishes"].status == Status.FAILED
    assert (
        results["published_nothing_vanishes"].offenders[0].actual
        == "no file: it was deleted, or never finished; materialise it again"
    )
    assert results["published_captions"].status == Status.SKIPPED


@pytest.mark.parametrize("removals", [RemovalList(), RemovalList(domains=frozenset({"example.com"}))])
@pytest.mark.parametrize("stage", [StageName.FETCHED_IMAGES, StageName.PUBLISHED])
def test_a_damaged_page_is_a_violation_that_names_its_file_and_not_a_crash(
    copy: ShardStore, stage: StageName, removals: RemovalList
) -> None:
    path = Path(copy.path(stage, SHARD).path)
    content = bytearray(path.read_bytes())
    content[10:200] = bytes(190)
    path.write_bytes(content)
    results = check_shard(copy, SHARD, all_rules(), removals=removals)
    failed = {each.rule.name: each.offenders for each in results if each.status == Status.FAILED}
    assert failed
    assert {each.actual.split(":")[0] for offenders in failed.values() for each in offenders} == {str(path)}


def test_a_file_system_that_fails_breaks_no_rule(copy: ShardStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pq, "ParquetFile", failing)  # no disk fails when it is asked to
    with pytest.raises(StoreUnavailableError):
        check_shard(copy, SHARD, all_rules())


def test_a_foreign_file_does_not_keep_the_others_from_being_compared(copy: ShardStore) -> None:
    tamper(copy, StageName.BLIP_CANDIDATES, table(lambda found: found.drop_columns(["captions"])))
    results = check_across(copy, [SHARD, "demo-00001"], all_rules())
    assert {each.status for each in results} == {Status.PASSED}


def test_a_damaged_file_fails_every_rule_that_reads_it(copy: ShardStore) -> None:
    path = Path(copy.path(StageName.PUBLISHED, SHARD).path)
    path.write_bytes(path.read_bytes()[:-20])
    results = check_shard(copy, SHARD, all_rules())
    failed = {each.rule.name for each in results if each.status == Status.FAILED}
    assert failed == {
        rule.name for rule in all_rules() if StageName.PUBLISHED in rule.needs and rule.scope == Scope.SHARD
    }


def test_rules_are_described_and_graded() -> None:
    for rule in all_rules():
        assert rule.description.endswith("."), rule.name
        assert rule.severity in Severity
        assert rule.name.startswith((rule.stage, LEDGER))


def test_operations_says_what_to_do_about_every_rule() -> None:
    operations = (ROOT / "docs" / "OPERATIONS.md").read_text()
    assert [rule.name for rule in all_rules() if f"`{rule.name}`" not in operations] == []
