"""docs/extending.md keeps its word: its classes, named in its profiles, work through Dagster, the terminal and the checks."""

import re
import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest

from laion_coco_assets.assets import STAGES, fingerprints, pipeline_of
from laion_coco_assets.checks.drift import Drift
from laion_coco_assets.checks.results import Status
from laion_coco_assets.checks.rules import all_rules
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.errors import ProfileError
from laion_coco_assets.settings import Settings
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.removed_shards import note_removed
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.cli.test_cli import laion_coco
from laion_coco_assets_tests.conftest import DemoRun

GUIDE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with every file of the guide."""
    for name, text in BLOCK.findall(GUIDE.read_text()):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(guide: Path, demo: DemoRun) -> Path:
    """One shard of the demo, with all that its stages made."""
    shard = demo.shards[0]
    for folder in (*demo.store.stages, "source"):
        (guide / "data" / folder).mkdir(parents=True)
        shutil.copy(demo.folder / folder / f"{shard}.parquet", guide / "data" / folder)
    return guide / "data"


def run_and_check(data: Path, profile: str, monkeypatch: pytest.MonkeyPatch) -> ShardStore:
    """At the terminal, then the checks, both with the guide's profile."""
    source = str(data / "source")
    arguments = ("--data-dir", str(data), "--profile", profile)
    assert laion_coco("run", "--source", source, *arguments, monkeypatch=monkeypatch) == 0
    assert laion_coco("check", *arguments, monkeypatch=monkeypatch) == 0
    return ShardStore(data)


def test_a_stage_of_another_package_is_an_asset_with_checks_and_figures(data: Path, demo: DemoRun) -> None:
    defs = build_defs(Settings(profile="lengths.toml"))
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    node = graph.get(dg.AssetKey("caption_lengths"))
    assert node.parent_keys == {dg.AssetKey("published")}
    assert node.description == "How long each published caption is, in words."
    assert node.code_version == fingerprints(load_profile("lengths.toml"))["caption_lengths"]
    assert [column.name for column in node.metadata["dagster/column_schema"].columns] == ["sample_id", "words"]
    names = {key.name for key in graph.asset_check_keys if key.asset_key == node.key}
    assert names == {"caption_lengths_columns", "caption_lengths_fingerprint", "caption_lengths_positive"}


def test_a_stage_of_another_package_is_made_at_the_terminal(
    data: Path, demo: DemoRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run_and_check(data, "lengths.toml", monkeypatch)
    (shard,) = store.shards("published")
    published = list(stage_rows(store, "published", shard))
    assert list(stage_rows(store, "caption_lengths", shard)) == [
        {"sample_id": row["sample_id"], "words": len(row["top_caption"].split())} for row in published
    ]
    capsys.readouterr()
    assert (
        laion_coco("clean", "--data-dir", str(data), "--profile", "demo", "--days", "0", monkeypatch=monkeypatch) == 0
    )
    assert "caption_lengths" not in capsys.readouterr().out, "another profile's stage is not for this one to judge"


def test_a_stages_settings_and_inputs_are_in_its_fingerprint(guide: Path) -> None:
    before = fingerprints(load_profile("lengths.toml"))
    (guide / "other.toml").write_text('base = "lengths.toml"\n[stage_settings.caption_lengths]\nlongest = 3\n')
    changed = fingerprints(load_profile("other.toml"))
    assert [name for name in before if before[name] != changed[name]] == ["caption_lengths"]
    (guide / "other.toml").write_text('base = "lengths.toml"\n[publish]\ntitle = "other"\n')
    changed = fingerprints(load_profile("other.toml"))
    assert [name for name in before if before[name] != changed[name]] == ["published", "caption_lengths"]
    built_in = fingerprints(load_profile("demo"))
    assert {name: before[name] for name in built_in} == built_in, "a further stage makes nothing else stale"


def test_rules_follow_from_a_stages_class(guide: Path) -> None:
    pipeline = pipeline_of(load_profile("lengths.toml"))
    further = {rule.name: rule for rule in all_rules(pipeline.stages)}.keys() - {rule.name for rule in all_rules()}
    assert further == {"caption_lengths_columns", "caption_lengths_fingerprint", "caption_lengths_positive"}


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("reads = ('nowhere',)", "reads nowhere, but no earlier stage has that name"),
        ("reads = ('ledger',)", "reads ledger, but no earlier stage has that name"),
        ("name = 'files'", "'files', and that name is taken"),
        ("name = 'published'", "'published', and that name is taken"),
        ("name = 'größe'", "lower-case letters, digits and underscores"),
        ("rows_of = RowsOf('published', 'true', 'row')", "caption_lengths has no column row"),
        ("rows_of = RowsOf('fetched_images', 'true', 'row')", "fetched_images, which is not among its `reads`"),
        ("rows = Stage.rows", "leaves rows unwritten"),
    ],
)
def test_a_stage_that_cannot_work_is_a_clear_error(guide: Path, stage: str, message: str) -> None:
    (guide / "other_stage.py").write_text(
        "from caption_lengths import CaptionLengths\nfrom laion_coco_assets.stages.stage import RowsOf, Stage\n"
        f"class Other(CaptionLengths):\n    {stage}\n"
    )
    (guide / "bad.toml").write_text('base = "demo"\nstages = ["other_stage:Other"]\n')
    sys.modules.pop("other_stage", None)
    with pytest.raises(ProfileError, match=re.escape(message)):
        pipeline_of(load_profile("bad.toml"))


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("caption_lengths", "not of the form package.module:Name"),
        ("nowhere:Stage", "cannot be loaded"),
        ("caption_lengths:Panel", "is not a subclass of"),
    ],
)
def test_a_path_that_names_no_stage_is_a_clear_error(guide: Path, stages: str, message: str) -> None:
    (guide / "bad.toml").write_text(f'base = "demo"\nstages = ["{stages}"]\n')
    with pytest.raises(ProfileError, match=message):
        pipeline_of(load_profile("bad.toml"))


@pytest.mark.parametrize(
    ("name", "header", "message"),
    [
        ("lengths", "-- description: x\n-- stage: caption_lengths", "has no `severity`"),
        ("lengths", "-- description: x\n-- severity: error\n-- stage: published", "says `-- stage: published`"),
        ("published_columns", "-- description: x\n-- severity: warn\n-- stage: caption_lengths", "two rules are named"),
    ],
)
def test_a_rule_that_a_stage_states_wrongly_is_a_clear_error(
    guide: Path, monkeypatch: pytest.MonkeyPatch, name: str, header: str, message: str
) -> None:
    (stage,) = pipeline_of(load_profile("lengths.toml")).stages[len(STAGES) :]
    other = type("Other", (stage,), {"rules": {name: f"{header}\nSELECT 1"}})
    with pytest.raises(ProfileError, match=message):
        all_rules((*STAGES, other))


def test_another_class_or_column_makes_a_stages_files_stale(guide: Path) -> None:
    before = fingerprints(load_profile("lengths.toml"))["caption_lengths"]
    (guide / "other_lengths.py").write_text(
        "from caption_lengths import *\nclass Same(CaptionLengths): pass\n"
        "class Wider(CaptionLengths):\n    columns = (*CaptionLengths.columns, Column('letters', INT32, 'letters'))\n"
    )
    prints = {before}
    for name in ("Same", "Wider"):
        (guide / "other.toml").write_text(f'base = "lengths.toml"\nstages = ["other_lengths:{name}"]\n')
        prints.add(fingerprints(load_profile("other.toml"))["caption_lengths"])
    assert len(prints) == 3


def test_a_drift_rule_of_another_package_is_measured(guide: Path, demo: DemoRun, tmp_path: Path) -> None:
    rule = "-- description: x\n-- severity: warn\n-- stage: caption_lengths\n-- scope: earlier shards\n-- floor: 1\n-- k: 5\n"
    (stage,) = pipeline_of(load_profile("lengths.toml")).stages[len(STAGES) :]
    drifting = type("Drifting", (stage,), {"rules": {"words_drift": f"{rule}SELECT avg(words) FROM caption_lengths"}})
    store = ShardStore(tmp_path / "drift", ["caption_lengths"])
    for i in range(7):
        with store.write(StageKey("caption_lengths", f"s{i}", "f"), stage.schema()) as writer:
            writer.append([{"sample_id": f"{row:032x}", "words": 50 if i == 6 else 5} for row in range(40)])
    rules = all_rules((*STAGES, drifting))
    results = {shard: Drift(store, rules).check_shard(shard, rules) for shard in ("s5", "s6")}
    outcomes = {shard: [each.status for each in of if each.rule.name == "words_drift"] for shard, of in results.items()}
    assert outcomes == {"s5": [Status.PASSED], "s6": [Status.FAILED]}


def test_without_the_profile_a_stages_files_are_named_by_check_and_taken_by_clean(
    data: Path, demo: DemoRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = demo.shards[0]
    (stage,) = pipeline_of(load_profile("lengths.toml")).stages[len(STAGES) :]
    with ShardStore(data).write(StageKey(stage.name, shard, "f"), stage.schema()) as writer:
        writer.append([{"sample_id": "0" * 32, "words": 1}])
    assert laion_coco("check", "--data-dir", str(data), monkeypatch=monkeypatch) == 0
    assert "caption_lengths: not checked" in capsys.readouterr().out
    note_removed(ShardStore(data), [shard])
    assert laion_coco("clean", "--data-dir", str(data), monkeypatch=monkeypatch) == 0
    assert f"caption_lengths/{shard}.parquet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("profile", "column", "value"), [("ranked.toml", "top_caption", None), ("captioned.toml", "all_captions", "scene")]
)
def test_a_ranker_and_a_captioner_of_another_package_make_captions(
    data: Path, monkeypatch: pytest.MonkeyPatch, profile: str, column: str, value: str | None
) -> None:
    store = run_and_check(data, profile, monkeypatch)
    (shard,) = store.shards("published")
    rows = list(stage_rows(store, "published", shard))
    assert rows
    if value is not None:
        assert all(caption.endswith(value) for row in rows for caption in row[column])
    label = load_profile(profile).ranker_labels[-1]
    assert label in (data / "published" / "README.md").read_text()


def test_a_source_format_of_another_package_is_read(guide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (guide / "urls.csv").write_text("url,text\nftp://a.test/x.jpg,one\nftp://b.test/y.jpg,two\n")
    code = laion_coco(
        *("fetch", "--source", "urls.csv", "--data-dir", "out", "--profile", "listed.toml"), monkeypatch=monkeypatch
    )
    assert code == 0
    rows = list(stage_rows(ShardStore("out"), "fetched_images", "urls", ["TEXT", "reason"]))
    assert rows == [{"TEXT": "one", "reason": "scheme"}, {"TEXT": "two", "reason": "scheme"}]
