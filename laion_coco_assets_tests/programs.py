"""Calls a program's entry point in this process."""

from collections.abc import Callable

import pytest


def exit_code(main: Callable[[], None], *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run `main` with these arguments as a shell would; returns the exit code."""
    monkeypatch.setattr("sys.argv", ["laion-coco", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0
