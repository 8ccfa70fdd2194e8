"""Reading a profile: a shipped name or a TOML file, laid over the profile that it starts from."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.errors import ProfileError

_PROFILES: Final = Path(str(resources.files("laion_coco_assets.contract"))) / "profiles"


def shipped_profiles() -> list[str]:
    """Names of the profiles in the package."""
    return sorted(file.stem for file in _PROFILES.glob("*.toml"))


def load_profile(name_or_file: str | Path) -> Profile:
    """The profile of a shipped name (`laion-coco`) or of a TOML file.

    A file may start from another with `base = "laion-coco"` (a shipped name or a file beside it) and set only what
    differs. Paths of models are relative to the file that names them.

    Raises:
        ProfileError: the profile does not exist or is not TOML, or a key is unknown, missing or impossible.
    """
    file = _locate(name_or_file)
    data = _read(file, seen=())
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise ProfileError(_explain(file, error)) from None


def _locate(name_or_file: str | Path, beside: Path | None = None) -> Path:
    text = str(name_or_file)
    if text in shipped_profiles():
        return _PROFILES / f"{text}.toml"
    file = (beside / text) if beside else Path(text)
    if not file.is_file():
        known = ", ".join(shipped_profiles())
        raise ProfileError(f"profile {text!r}: neither a file nor one of the shipped profiles ({known})")
    return file.resolve()


def _read(file: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """A file's keys over its base's, with model paths made absolute and checked."""
    if file in seen:
        raise ProfileError(f"{file}: base: goes in a circle through {seen[-1]}")
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{file}: not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{file}: not UTF-8 text") from None
    except OSError as error:
        raise ProfileError(f"{file}: cannot be read: {error.strerror}") from None
    for stage in ("caption", "rank", "final"):
        _resolve_model_path(file, data, stage)
    base = data.pop("base", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise ProfileError(f"{file}: base: must be the name of a profile or a file, not {base!r}")
    return _over(_read(_locate(base, beside=file.parent), (*seen, file)), data)


def _resolve_model_path(file: Path, data: dict[str, Any], stage: str) -> None:
    section = data.get(stage)
    model = section.get("model") if isinstance(section, dict) else None
    path = model.get("path") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(path, str):
        return  # absent, or of a wrong type: the validation reports that
    resolved = (file.parent / Path(path).expanduser()).resolve()
    if not resolved.exists():
        raise ProfileError(
            f"{file}: {stage}.model.path: {resolved} does not exist; "
            "put the model there, or leave the key out to load it by its hub name"
        )
    model["path"] = str(resolved)


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` laid over `base`, table by table.

    `final = false` removes the base's table. A model that names a `type` takes nothing from the base's model.
    """
    merged = dict(base)
    for key, value in own.items():
        if key == "final" and value is False:
            merged.pop("final", None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict) and not (key == "model" and "type" in value):
            merged[key] = _over(base[key], value)
        else:
            merged[key] = value
    return merged


def _explain(file: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(the whole profile)"
        match problem["type"]:
            case "extra_forbidden":
                what = "unknown key; is it misspelt?"
            case "missing":
                what = "missing"
            case _:
                shown = "" if isinstance(problem["input"], dict) else f", not {problem['input']!r}"
                what = problem["msg"].removeprefix("Value error, ") + shown
        lines.append(f"{file}: {key}: {what}")
    return "\n".join(lines)
