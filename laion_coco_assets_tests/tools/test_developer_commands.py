"""The developers' commands explain themselves, and the documents name them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fetch.__main__ import main as fetch
from benchmarks.instance.__main__ import main as instance
from laion_coco_assets import demo
from laion_coco_assets_tests.programs import exit_code
from tools.demo.measure import main as measure
from tools.demo.train import main as train

CHECKOUT = Path(__file__).parents[2]
WEIGHTS = Path(demo.__file__).parent / "weights" / "README.md"


@pytest.mark.parametrize(
    ("main", "command", "document"),
    [
        (fetch, "benchmarks.fetch", CHECKOUT / "docs" / "FETCHING.md"),
        (instance, "benchmarks.instance", CHECKOUT / "docs" / "OPERATIONS.md"),
        (train, "tools.demo.train", WEIGHTS),
        (measure, "tools.demo.measure", WEIGHTS),
    ],
)
def test_every_command_has_help_and_stands_in_its_document(
    main: Callable[[], None],
    command: str,
    document: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(main, "--help", monkeypatch=monkeypatch) == 0
    assert "Usage:" in capsys.readouterr().out
    assert f"python -m {command}" in document.read_text(encoding="utf-8")
