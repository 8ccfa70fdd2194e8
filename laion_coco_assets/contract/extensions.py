"""Further stages, rankers, captioners and sources: classes outside the package, named in a profile as `package.module:Name`.

The profile names them, not the entry points of installed packages. The profile is the record of how a data set was
made, so the same profile means the same classes on every machine. One file beside the profile is enough.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from laion_coco_assets.errors import ProfileError


def is_dotted_path(name: str) -> bool:
    """Whether `name` has the form `package.module:Name`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


def load_object(dotted_path: str, setting: str) -> Any:
    """The object that `package.module:Name` names. Python's path is searched first, then the working directory.

    Raises:
        ProfileError: the path has another form, the module or name does not exist, or the module fails while it is
            imported. The message names `setting`.
    """
    if not is_dotted_path(dotted_path):
        raise ProfileError(f"{setting}: {dotted_path!r} is not of the form package.module:Name")
    module_name, _, attribute = dotted_path.partition(":")
    try:
        target = _import(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except Exception as error:  # somebody else's module may raise anything while it is imported
        raise ProfileError(
            f"{setting}: {dotted_path!r} cannot be loaded ({type(error).__name__}: {error}); "
            "install its package, or put its folder on PYTHONPATH"
        ) from error
    return target


def _import(module_name: str) -> Any:
    working_directory = str(Path.cwd())
    if working_directory in sys.path:
        return import_module(module_name)
    sys.path.append(working_directory)  # a console script does not have it on its path
    try:
        return import_module(module_name)
    finally:
        sys.path.remove(working_directory)
