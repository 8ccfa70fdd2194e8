"""`python -m tools.settings_table`: writes docs/settings.md, the reference of all settings, from `Settings`."""

from pathlib import Path
from typing import Any, Final

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from laion_coco_assets.settings import Settings, description, flag, shown, variable

PAGE: Final = Path(__file__).parents[1] / "docs" / "settings.md"

_INTRO: Final = """\
# Settings

Every setting of a deployment. This page is generated from `laion_coco_assets/settings.py` by `uv run python -m tools.settings_table`.
No setting changes what an output means: the settings that do are in a [profile](../README.md#your-own-shards-the-real-models).

Dagster (`dg dev`, its daemon and its runs) reads the environment variables. The terminal (`laion-coco`) takes flags and reads no
variable, except where a row says so; `laion-coco shards` works on Dagster's instance, so it reads the variables as Dagster does.
In a variable, several values are separated by commas; at the terminal, the flag is repeated.
"""
_MORE: Final = {
    "Models": "[PERFORMANCE.md](PERFORMANCE.md#precision) has the speed and precision of each `dtype`.",
    "Fetching": "[FETCHING.md](FETCHING.md#many-hosts-at-once) explains what these limits do and how they work together.",
    "Dagster": "[OPERATIONS.md](OPERATIONS.md) explains the two schedules; both are off until they are turned on.",
}


def page() -> str:
    """The whole page, as Markdown."""
    groups: dict[str, list[str]] = {}
    for name in Settings.model_fields:
        groups.setdefault(shown(name).group, []).append(_row(name))
    head = "| variable | flag | default | range | meaning |\n| --- | --- | --- | --- | --- |"
    sections = [
        "\n".join([f"## {group}\n", *([_MORE[group], ""] if group in _MORE else []), head, *rows])
        for group, rows in groups.items()
    ]
    return "\n\n".join([_INTRO.rstrip(), *sections]) + "\n"


def _row(name: str) -> str:
    info = Settings.model_fields[name]
    cells = (f"`{variable(name)}`", _flag(name), _default(name), _range(info), description(info))
    return f"| {' | '.join(cells)} |"


def _flag(name: str) -> str:
    how = shown(name)
    if not how.commands:
        return ""
    text = f"`{flag(name)}` of {', '.join(f'`{command}`' for command in how.commands)}"
    return f"{text}; without it, the variable" if how.reads_variable else text


def _default(name: str) -> str:
    how = shown(name)
    text = f"`{how.default}`" if how.default else _value(Settings.model_fields[name].default)
    if how.terminal_default is None:
        return text
    required = how.terminal_default is ...
    return f"{text}; at the terminal {'required' if required else _value(how.terminal_default)}"


def _value(value: Any) -> str:
    if value in ("", (), None):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(info: FieldInfo) -> str:
    low = next((f"{bound.ge:,}" for bound in info.metadata if isinstance(bound, Ge)), "")
    above = next((f"{bound.gt:,}" for bound in info.metadata if isinstance(bound, Gt)), "")
    high = next((f"{bound.le:,}" for bound in info.metadata if isinstance(bound, Le)), "")
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"above {above}" if above else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
