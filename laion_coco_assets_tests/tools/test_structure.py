"""Modules and functions stay short, and the tool that counts them tells when they do not."""

import sys
from pathlib import Path

import pytest

from tools import structure


def test_the_packages_modules_and_functions_keep_to_the_limits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["structure"])
    assert structure.main() == 0, capsys.readouterr().out
    assert "one name" not in capsys.readouterr().out, "two modules share a name"


LINES = "x = 1\n"
SHORT = "def f(): ...\n"
LONG = "def f():\n"


@pytest.mark.parametrize(
    ("texts", "exceeded"),
    [
        ((SHORT + 300 * LINES, SHORT, SHORT), ["largest module"]),
        ((SHORT + 100 * LINES, SHORT + 100 * LINES, SHORT), ["median module"]),
        ((LONG + 25 * f"    {LINES}",), ["90th percentile of functions"]),
        ((LONG + 24 * f"    {LINES}", SHORT + 299 * LINES, SHORT), []),
    ],
)
def test_an_exceeded_limit_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: tuple[str, ...], exceeded: list[str]
) -> None:
    (tmp_path / "__init__.py").write_text('"""A docstring alone is no module."""\n')
    for number, text in enumerate(texts):
        (tmp_path / f"module_{number}.py").write_text(text)
    assert len(structure.Structure.of(tmp_path).modules) == len(texts)
    assert list(structure.Structure.of(tmp_path).too_long) == exceeded
    monkeypatch.setattr(sys, "argv", ["structure", str(tmp_path)])
    assert structure.main() == (1 if exceeded else 0)


def test_modules_that_share_a_name_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("store", "sources"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "files.py").write_text("def f(): ...\n")
        (tmp_path / folder / "__main__.py").write_text("def f(): ...\n")
    monkeypatch.setattr(sys, "argv", ["structure", str(tmp_path)])
    assert structure.main() == 0
    assert "one name, 2 modules: files.py in sources, store" in capsys.readouterr().out
