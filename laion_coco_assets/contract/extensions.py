"""Further stages, rankers, captioners and sources: classes outside the package, named in a profile as `package.module:Name`.

A dotted path stands in the profile and not in an installed package's entry points: the profile is the record of what made
a data set, so the same profile means the same classes on every machine, and one file beside the profile is enough.
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
    """What `package.module:Name` names. Modules are found as Python finds them, then in the working directory.

    Raises:
        ProfileError: not such a path, no such module or name, or a module that fails while it is imported; names `setting`.
    """
    if not is_dotted_path(dotted_path):
        raise ProfileError(f"{setting}: {dotted_path!r} is not of the form package.module:Name")
    module_name, _, attribute = dotted_path.partition(":")
    try:
        target = _import(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except Exception as error:  # whatever somebody else's module raises while it is imported
        raise ProfileError(
            f"{setting}: {dotted_path!r} cannot be loaded ({type(error).__name__}: {error}); "
            "install its package, or put its folder on PYTHONPATH"
        ) from error
    return target


def _import(module_name: str) -> Any:
    here = str(Path.cwd())
    if here in sys.path:
        return import_module(module_name)
    sys.path.append(here)  # a console script has no working directory on its path
    try:
        return import_module(module_name)
    finally:
        sys.path.remove(here)
