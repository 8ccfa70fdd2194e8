"""The fetcher's benchmark measures what it says, over real sockets, and says so when it cannot."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.fetch.__main__ import main
from benchmarks.fetch.contestants import Contestant
from benchmarks.fetch.fetch_benchmark import FetchBenchSettings, Measured, medians, run_fetch_bench
from laion_coco_assets.errors import UserError
from laion_coco_assets_tests.programs import exit_code

SILENT = Console(quiet=True)


@pytest.mark.parametrize("slow", [False, True])
def test_ours_over_https_and_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--contestants", "ours", "--count", "40", "--rounds", "1", "--json", str(file)]
    assert exit_code(main, *arguments, *(["--slow"] if slow else []), monkeypatch=monkeypatch) == 0
    figures = json.loads(file.read_text())
    assert set(figures) == {"https", "http"}
    for scheme in figures.values():
        assert set(scheme) == {"ours"}
        assert set(scheme["ours"]) == {"images_per_s", "cpu_ms", "peak_memory_bytes"}
        assert all(number > 0 for number in scheme["ours"].values())


def test_medians_are_over_rounds() -> None:
    rounds = [Measured(10.0, 3.0, 100), Measured(30.0, 1.0, 300), Measured(20.0, 2.0, 200)]
    expected = {"images_per_s": 20.0, "cpu_ms": 2.0, "peak_memory_bytes": 200}
    assert medians({"http": {"ours": rounds}}) == {"http": {"ours": expected}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"contestants": ("wget",)},
            "--contestants: must be some of ours, img2dataset, img2dataset_hashed_ca, not wget",
        ),
        ({"schemes": ()}, "--schemes: must be some of https, http, not nothing"),
        ({"json": Path("/no/such/folder/a.json")}, "its folder does not exist"),
    ],
)
def test_impossible_flags_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_fetch_bench(FetchBenchSettings(**changes), SILENT, SILENT)  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "said"), [(0, "got 0 of 3 images"), (3, "ended with 3: sorry")])
def test_a_contestant_that_fails_is_an_error_and_no_figure(
    monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    shell = ["sh", "-c", f"echo sorry; exit {code}"]
    lazy = Contestant("ours", lambda *_: shell, {}, lambda _: 0)
    monkeypatch.setitem(run_fetch_bench.__globals__["_MAKERS"], "ours", lambda *_: lazy)
    settings = FetchBenchSettings(count=3, rounds=1, schemes=("http",), contestants=("ours",))
    with pytest.raises(UserError, match=said):
        run_fetch_bench(settings, SILENT, SILENT)
