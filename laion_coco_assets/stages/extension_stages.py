"""Stages of other packages, which a profile names under `stages`: loaded, and refused when they cannot work."""

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

from laion_coco_assets.contract.extensions import load_object
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.errors import ProfileError
from laion_coco_assets.stages.pipeline import with_side_files
from laion_coco_assets.stages.stage import Stage

#: A stage's name is an asset's key, a folder's name and a view's name in SQL.
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
#: Tables that rules read, and folders beside the stages'.
_RESERVED: Final = frozenset(
    {"source", "truth", "files", "file_records", "inputs", "reasons", "removed", "formats", "contract", "columns"}
)
#: What a stage needs for `rows_of`, and the earlier stage too.
_ROW_COLUMNS: Final = frozenset({"row", "sample_id"})


def with_extensions(profile: Profile, built_in: tuple[type[Stage], ...]) -> tuple[type[Stage], ...]:
    """The built-in stages and, after them, those that the profile names.

    Raises:
        ProfileError: a path that names no stage, or a stage that cannot work: it says what is wrong with it.
    """
    stages = list(built_in)
    for dotted_path in profile.stages:
        stage = load_object(dotted_path, "stages")
        taken = {file.name for file in with_side_files(stages)}
        problem = _problem(stage, {known.name: known for known in stages}, taken)
        if problem:
            raise ProfileError(f"stages: {dotted_path!r} {problem}")
        stages.append(stage)
    unknown = set(profile.stage_settings) - {stage.name for stage in stages[len(built_in) :]}
    if unknown:
        raise ProfileError(f"stage_settings: {', '.join(sorted(unknown))}: no stage of this name under `stages`")
    return tuple(stages)


def _problem(stage: Any, earlier: Mapping[str, type[Stage]], taken: set[str]) -> str:
    """Why this cannot be the next stage; empty if it can."""
    if not (inspect.isclass(stage) and issubclass(stage, Stage)):
        return f"is not a subclass of {Stage.__module__}.Stage"
    if inspect.isabstract(stage):
        return f"leaves {', '.join(sorted(stage.__abstractmethods__))} unwritten"
    if missing := [name for name in ("name", "columns") if not hasattr(stage, name)]:
        return f"does not say its {' and '.join(missing)}"
    return _name_problem(stage, taken) or _reads_problem(stage, earlier) or _rows_problem(stage, earlier)


def _name_problem(stage: type[Stage], taken: set[str]) -> str:
    if not (isinstance(stage.name, str) and _NAME.fullmatch(stage.name)):
        return f"is named {stage.name!r}: a name has lower-case letters, digits and underscores, a letter first"
    if stage.name in taken or stage.name in _RESERVED:
        return f"is named {stage.name!r}, and that name is taken"
    return ""


def _reads_problem(stage: type[Stage], earlier: Mapping[str, type[Stage]]) -> str:
    if unknown := set(stage.reads) - set(earlier):
        return f"reads {', '.join(sorted(unknown))}, but no earlier stage has that name"
    return ""


def _rows_problem(stage: type[Stage], earlier: Mapping[str, type[Stage]]) -> str:
    if stage.rows_of is None:
        return ""
    source = stage.rows_of.stage
    if source not in stage.reads:
        return f"has rows of {source}, which is not among its `reads`"
    for side in (stage, earlier[source]):
        if missing := _ROW_COLUMNS.difference(column.name for column in side.columns):
            return f"has `rows_of`, but {side.name} has no column {' and '.join(sorted(missing))}"
    return ""
