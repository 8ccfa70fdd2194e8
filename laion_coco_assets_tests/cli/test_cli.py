"""The terminal's promises: help that teaches, one clear error for a mistake, exit codes that mean something."""

import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image

from laion_coco_assets.cli import main as cli
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.resources.build_resources import build_resources
from laion_coco_assets.settings import Settings
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.conftest import DemoRun
from laion_coco_assets_tests.contracts import PUBLISHED, SCHEMAS, stage_writer
from laion_coco_assets_tests.programs import exit_code


def laion_coco(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command as its entry point does; returns the exit code."""
    return exit_code(cli.main, *arguments, monkeypatch=monkeypatch)


def _commands(group: typer.Typer, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        yield (*prefix, command.name or (command.callback.__name__ if command.callback else ""))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from _commands(inner.typer_instance, (*prefix, inner.name or ""))


COMMANDS = sorted(_commands(cli.app))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert laion_coco(*command, "--help", monkeypatch=monkeypatch) == 0
    assert "Usage: laion-coco" in capsys.readouterr().out
    readme = (Path(cli.__file__).parents[2] / "README.md").read_text()
    assert f"laion-coco {' '.join(command)}" in " ".join(readme.split())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the loopback server that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def source(served: tuple[Path, str], tmp_path: Path) -> Path:
    """Two shards of URLs, one row of each an image, one not there."""
    folder, url = served
    Image.linear_gradient("L").resize((200, 150)).convert("RGB").save(folder / "grey.png")
    (tmp_path / "source").mkdir()
    for name in ("a", "b"):
        table = pa.table({"url": [f"{url}/grey.png", f"{url}/none.png"], "caption": ["x", "y"], "text": ["grey", None]})
        pq.write_table(table, tmp_path / "source" / f"{name}.parquet")
    return tmp_path / "source"


def test_run_on_strangers_urls_and_export(
    source: Path, served: tuple[Path, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = str(tmp_path / "out")
    arguments = ["run", "--source", str(source), "--data-dir", out, "--profile", "demo"]
    assert laion_coco(*arguments, "--allow-network", "127.0.0.0/8", "--shards", "a", monkeypatch=monkeypatch) == 0
    store = ShardStore(out)
    assert store.shards(StageName.PUBLISHED) == ["a"]
    (row,) = stage_rows(store, StageName.PUBLISHED, "a")
    assert row["TEXT"] == "grey"
    assert [each["reason"] for each in stage_rows(store, LEDGER, "a")] == [None, "http_4xx"]
    assert laion_coco("check", "--data-dir", out, "--profile", "demo", monkeypatch=monkeypatch) == 0
    tars = tmp_path / "tars"
    export = ["export", "--data-dir", out, "--out", str(tars)]
    assert laion_coco(*export, monkeypatch=monkeypatch) == 0
    with tarfile.open(tars / "a.tar") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    name = row["sample_id"]
    assert files[f"{name}.png"] == (served[0] / "grey.png").read_bytes()
    assert files[f"{name}.txt"].decode() == row["top_caption"]
    assert json.loads(files[f"{name}.json"]) == row
    capsys.readouterr()
    assert laion_coco(*export, "--shards", "a", monkeypatch=monkeypatch) == 0
    assert "a: complete and unchanged" in capsys.readouterr().out
    assert laion_coco(*export, "--shards", "b", monkeypatch=monkeypatch) == 2
    (tars / "a.tar").write_bytes(b"a stranger's")
    assert laion_coco(*export, monkeypatch=monkeypatch) == 1
    assert "1 of 1 shard failed: a" in capsys.readouterr().err
    assert laion_coco("export", "--data-dir", str(tars), "--out", out, monkeypatch=monkeypatch) == 2
    assert "nothing is published in it" in capsys.readouterr().err


def test_a_refetched_shard_is_stale_until_the_models_run_again(
    source: Path, served: tuple[Path, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = str(tmp_path / "out")
    given = ("--source", str(source), "--data-dir", out, "--profile", "demo", "--allow-network", "127.0.0.0/8")
    assert laion_coco("run", *given, "--shards", "a", monkeypatch=monkeypatch) == 0
    Image.linear_gradient("L").resize((150, 200)).convert("RGB").save(served[0] / "none.png")
    assert laion_coco("fetch", *given, "--retry", "http_4xx", monkeypatch=monkeypatch) == 0
    check = ("check", "--data-dir", out)
    for more in ((), ("--profile", "demo")):
        capsys.readouterr()
        assert laion_coco(*check, *more, monkeypatch=monkeypatch) == 3
        printed = capsys.readouterr().out
        stages = ", ".join(list(StageName)[1:])
        assert f"stale: a: fetched again, the models have not run since ({stages})\n" in printed
        assert "Failed rules" not in printed
        assert printed.splitlines()[-1].endswith("; 1 shard stale")
    assert laion_coco(*check, "--stale", "warn", monkeypatch=monkeypatch) == 0
    assert laion_coco("run", *given, "--shards", "a", monkeypatch=monkeypatch) == 0
    assert laion_coco(*check, "--profile", "demo", monkeypatch=monkeypatch) == 0


def test_run_on_a_folder_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "photos", str(tmp_path / "out")
    folder.mkdir()
    Image.linear_gradient("L").convert("RGB").save(folder / "grey.png")
    (folder / "grey.txt").write_text("grey")
    arguments = ["run", "--source", str(folder), "--data-dir", out, "--profile", "demo"]
    assert laion_coco(*arguments, monkeypatch=monkeypatch) == 0
    assert "user_agent" not in capsys.readouterr().err  # nobody is asked, so nobody need know whom to write to
    (row,) = stage_rows(ShardStore(out), StageName.PUBLISHED, "photos")
    assert (row["URL"], row["TEXT"]) == ("photos/grey.png", "grey")
    assert laion_coco("check", "--data-dir", out, "--profile", "demo", monkeypatch=monkeypatch) == 0


@pytest.mark.parametrize(("command", "work"), [("run", "run_and_report"), ("fetch", "fetch_and_report")])
def test_flags_of_the_network_reach_the_fetcher(
    source: Path, command: str, work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Settings] = []

    def note(settings: Settings, *_: object, **__: object) -> int:
        given.append(settings)
        return 0

    monkeypatch.setattr(f"laion_coco_assets.cli.{command}.{work}", note)
    flags = ["--fetch-concurrency", "48", "--fetch-requests-per-host", "2", "--host-spacing", "0.5"]
    where = ["--source", str(source), "--data-dir", str(tmp_path / "out"), "--allow-network", "127.0.0.0/8"]
    assert laion_coco(command, *where, *flags, monkeypatch=monkeypatch) == 0
    (settings,) = given
    deployment = build_resources(settings, load_profile("laion-coco"))["fetcher"].deployment()
    assert (deployment.concurrency, deployment.requests_per_host, deployment.host_spacing_s) == (48, 2, 0.5)
    assert deployment.allow_networks == ("127.0.0.0/8",)


def test_fetch_alone_and_again(
    source: Path, served: tuple[Path, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = str(tmp_path / "out")
    common = ["--source", str(source), "--data-dir", out, "--profile", "demo", "--allow-network", "127.0.0.0/8"]
    assert laion_coco("fetch", *common, "--retry", "transient", monkeypatch=monkeypatch) == 2
    assert "fetch them first" in capsys.readouterr().err
    assert laion_coco("fetch", *common, "--retry", "http_4xx,tiemout", monkeypatch=monkeypatch) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "no such reason: tiemout; the reasons are transient, invalid_url," in error
    trial = [*common[:3], f"{out}-trial", *common[4:], "--max-samples", "1"]
    assert laion_coco("fetch", *trial, monkeypatch=monkeypatch) == 0
    assert ShardStore(f"{out}-trial").need(StageName.FETCHED_IMAGES, "a").rows == 1
    assert laion_coco("fetch", *common, "--shards", "a", monkeypatch=monkeypatch) == 0
    assert "http_4xx" in capsys.readouterr().out
    store = ShardStore(out)
    assert [stage for stage in SCHEMAS if store.shards(stage)] == [StageName.FETCHED_IMAGES]
    assert laion_coco("run", *common, "--shards", "a", monkeypatch=monkeypatch) == 0
    assert len(list(stage_rows(store, StageName.PUBLISHED, "a"))) == 1
    shutil.copy(served[0] / "grey.png", served[0] / "none.png")
    assert laion_coco("fetch", *common, "--retry", "http_4xx", monkeypatch=monkeypatch) == 0
    assert store.shards(StageName.FETCHED_IMAGES) == ["a"]  # b was never fetched, so there is nothing to ask for again
    assert laion_coco("run", *common, "--shards", "a", monkeypatch=monkeypatch) == 0
    assert [row["TEXT"] for row in stage_rows(store, StageName.PUBLISHED, "a")] == ["grey", None]
    assert [row["reason"] for row in stage_rows(store, LEDGER, "a")] == [None, None]


@pytest.mark.parametrize(
    ("agent", "warned"),
    [
        ("mine/1.0 (ask us)", True),
        ("mine/1.0 (+https://mine.example/bot)", False),
        ("mine/1.0 (us@mine.example)", False),
    ],
)
def test_a_user_agent_without_contact_is_named(
    agent: str, warned: bool, source: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    profile = tmp_path / "mine.toml"
    profile.write_text(f'base = "demo"\nname = "mine"\n[fetch]\nuser_agent = "{agent}"\n')
    arguments = ["--source", str(source), "--data-dir", str(tmp_path / "out"), "--profile", str(profile)]
    assert laion_coco("fetch", *arguments, "--shards", "a", monkeypatch=monkeypatch) == 0
    assert ("warning: user_agent has no contact" in capsys.readouterr().err) is warned


def test_what_was_only_fetched_is_exported(
    source: Path, served: tuple[Path, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, tars = str(tmp_path / "out"), tmp_path / "tars"
    export = ["export", "--data-dir", out, "--out", str(tars)]
    assert laion_coco(*export, "--stage", "fetched_images", monkeypatch=monkeypatch) == 2
    assert "nothing is fetched in it" in capsys.readouterr().err
    fetch = ["fetch", "--source", str(source), "--data-dir", out, "--profile", "demo", "--shards", "a"]
    assert laion_coco(*fetch, "--allow-network", "127.0.0.0/8", monkeypatch=monkeypatch) == 0
    assert laion_coco(*export, monkeypatch=monkeypatch) == 2
    assert "--stage fetched_images" in " ".join(capsys.readouterr().err.split())
    assert laion_coco(*export, "--stage", "fetched_images", monkeypatch=monkeypatch) == 0
    with tarfile.open(tars / "a.tar") as tar:
        files = {name.partition(".")[2]: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    assert files["png"] == (served[0] / "grey.png").read_bytes()
    assert files["txt"] == b"grey"
    assert json.loads(files["json"])["http_status"] == 200


@pytest.mark.parametrize("first", ["published", "fetched_images"])
def test_two_stages_are_not_exported_into_one_folder(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, tars = ShardStore(tmp_path / "out"), tmp_path / "tars"
    row = {"row": 0, "sample_id": f"{0:032x}", "URL": "http://x/", "TEXT": "grey"}
    for shard in ("a", "b"):
        with stage_writer(store, StageKey(StageName.FETCHED_IMAGES, shard, "f", {"source": shard})) as writer:
            writer.append([row | {"status": "ok", "format": "PNG", "image": b"a picture"}])
        inputs = {StageName.FETCHED_IMAGES.value: store.need(StageName.FETCHED_IMAGES, shard).content}
        captions = {"top_caption": "a grey wall", "all_captions": [], "all_similarities": [], "all_multiplicities": []}
        with stage_writer(store, StageKey(StageName.PUBLISHED, shard, "f", inputs)) as writer:
            writer.append(
                [dict.fromkeys(PUBLISHED.names) | row | captions | {"hash": 0, "fingerprint": "f", "sha256": "0"}]
            )
    export = ["export", "--data-dir", str(tmp_path / "out"), "--out"]
    (second,) = {"published", "fetched_images"} - {first}
    assert laion_coco(*export, str(tars), "--stage", first, "--shards", "b", monkeypatch=monkeypatch) == 0
    before = (tars / "b.tar").read_bytes()
    capsys.readouterr()
    for shards in ("a", "b", "a,b"):  # a's tar would join the other stage's, b's replace it
        asked = [*export, str(tars), "--stage", second, "--shards", shards]
        assert laion_coco(*asked, monkeypatch=monkeypatch) == 2
        said = capsys.readouterr().err
        assert f"{tars / 'b.tar'} was made from {first}" in said
        assert "Traceback" not in said
        assert [each.name for each in tars.iterdir()] == ["b.tar"]
        assert (tars / "b.tar").read_bytes() == before
    assert laion_coco(*export, str(tmp_path / "others"), "--stage", second, monkeypatch=monkeypatch) == 0
    assert laion_coco(*export, str(tars), "--stage", first, monkeypatch=monkeypatch) == 0
    assert sorted(each.name for each in tars.iterdir()) == ["a.tar", "b.tar"]


def test_loopback_is_refused_unless_named(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "out")
    arguments = ["run", "--source", str(source / "a.parquet"), "--data-dir", out, "--profile", "demo"]
    assert laion_coco(*arguments, monkeypatch=monkeypatch) == 0
    assert {row["reason"] for row in stage_rows(ShardStore(out), LEDGER, "a")} == {"blocked_address"}


def test_a_bad_shard_among_good_ones_fails_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "aa.parquet").write_bytes(b"no parquet")
    out = str(tmp_path / "out")
    arguments = ["run", "--source", str(source), "--data-dir", out, "--profile", "demo"]
    assert laion_coco(*arguments, "--allow-network", "127.0.0.0/8", monkeypatch=monkeypatch) == 1
    assert ShardStore(out).shards(StageName.PUBLISHED) == ["a", "b"]
    said = capsys.readouterr().err
    assert "aa.parquet: not a parquet file" in " ".join(said.split())
    assert "1 of 3 shards failed: aa" in said


def test_a_shard_that_another_process_writes_is_waited_for_and_the_terminal_says_so(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("laion_coco_assets.orchestration.materialise.WAITS", (0,))
    out = str(tmp_path / "out")
    arguments = ["fetch", "--source", str(source), "--data-dir", out, "--profile", "demo", "--shards", "a"]
    with ShardStore(out).lock(StageKey(StageName.FETCHED_IMAGES, "a", "any")):
        assert laion_coco(*arguments, monkeypatch=monkeypatch) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "trying again in 0 s: " in said
    assert said.count("is being written by another process") == 2


def _missing_text(folder: Path) -> None:
    pq.write_table(pa.table({"URL": ["http://a/"]}), folder / "bad.parquet")


def _empty(folder: Path) -> None:
    (folder / "bad.parquet").touch()


def _not_parquet(folder: Path) -> None:
    (folder / "bad.parquet").write_text("URL,TEXT\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [(_missing_text, "no column TEXT"), (_empty, "not a parquet file"), (_not_parquet, "not a parquet file")],
)
def test_a_bad_source_is_one_clear_error(
    make: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(make)
    make(tmp_path)
    arguments = ["run", "--source", str(tmp_path / "bad.parquet"), "--data-dir", str(tmp_path / "out")]
    assert laion_coco(*arguments, "--profile", "demo", monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert "bad.parquet" in error
    assert said in error
    assert "Traceback" not in error


def test_an_error_that_quotes_a_file_does_not_command_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source.parquet"
    pq.write_table(pa.table({"\x1b]0;mine\x07": ["x"], "\x9b2J": ["y"]}), source)
    arguments = ("run", "--source", str(source), "--data-dir", str(tmp_path / "out"), "--profile", "demo")
    assert laion_coco(*arguments, monkeypatch=monkeypatch) in {1, 2}
    said = capsys.readouterr().err
    assert r"\x1b]0;mine\x07" in said
    assert not {"\x1b", "\x07", "\x9b"} & set(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "no-such"], "neither a file nor one of the shipped profiles"),
        (["--profile", "demo", "--shards", "zz"], "--shards: zz not in"),
        (["--profile", "demo", "--device", "abacus"], "LAION_COCO_DEVICE"),
        (["--profile", "demo", "--dtype", "float1"], "LAION_COCO_DTYPE"),
        (["--profile", "demo", "--allow-network", "all"], "all"),
        (["--profile", "laion-coco"], "hf download Salesforce/blip-image-captioning-large"),
    ],
)
def test_a_mistake_in_the_call_is_one_clear_error(
    arguments: list[str], said: str, source: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-cache"))
    assert laion_coco("run", "--source", str(source), "--data-dir", str(out), *arguments, monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (out / "fetched_images").exists()


def test_check_fails_on_a_violation_and_names_the_sample(
    demo: DemoRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(demo.folder, tmp_path / "data")
    store = ShardStore(tmp_path / "data")
    path = Path(store.path(StageName.PUBLISHED, "demo-00000").path)
    with pq.ParquetFile(path) as file:
        rows, schema, said = file.read().to_pylist(), file.schema_arrow, dict(file.metadata.metadata)
    said.pop(b"ARROW:schema")
    rows[0]["top_caption"] = "another\x1b[2J\t\u202eone"
    with pq.ParquetWriter(path, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        writer.add_key_value_metadata(said)
    monkeypatch.setattr("laion_coco_assets.cli.console.out.width", 200)
    assert laion_coco("check", "--data-dir", str(tmp_path / "data"), monkeypatch=monkeypatch) == 1
    printed = capsys.readouterr().out
    cells = [line.split("\t") for line in printed.splitlines()]
    assert ["rule", "shard", "sample_id", "expected", "actual"] in cells
    said_of_it = {
        "expected": "top_caption is one of all_captions",
        "actual": r"top_caption is another\x1b[2J \u202eone",
    }
    assert ["published_captions", "demo-00000", rows[0]["sample_id"], *said_of_it.values()] in cells
    assert "\x1b[2J" not in printed


def test_check_needs_a_folder_with_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert laion_coco("check", "--data-dir", str(tmp_path), monkeypatch=monkeypatch) == 2
    assert "it has no stage files" in capsys.readouterr().err


def test_the_demos_report_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo"
    assert laion_coco("demo", "--data-dir", str(folder), "--samples", "20", monkeypatch=monkeypatch) == 0
    report = json.loads((folder / "demo_report.json").read_text())
    assert set(report) == {"rows", "published", "rejected", "accuracy"}
    assert set(report["accuracy"]) == {"random_candidate", "clip_l_top1", "final", "alt_text"}
    assert report["rows"] == 20 == report["published"] + sum(report["rejected"].values())
    page = (folder / "gallery.html").read_text()
    assert page.count("<article>") == report["published"]
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert laion_coco("demo", "--data-dir", str(folder), "--samples", "40", monkeypatch=monkeypatch) == 2


def test_shards_are_added_and_listed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAION_COCO_DATA_DIR", str(tmp_path / "data"))
    assert laion_coco("shards", "add", "--source", str(source), monkeypatch=monkeypatch) == 0
    assert laion_coco("shards", "add", "--source", str(source), monkeypatch=monkeypatch) == 0
    assert laion_coco("shards", "list", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 shards added, 0 were registered already",
        "0 shards added, 2 were registered already",
        "a",
        "b",
    ]


def test_shards_without_an_instance_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert laion_coco("shards", "list", monkeypatch=monkeypatch) == 2
    assert "DAGSTER_HOME is not set" in capsys.readouterr().err
