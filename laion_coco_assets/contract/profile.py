"""A profile: every setting that can change an output, read from one TOML file and frozen.

What can not change an output (device, dtype, batch sizes, concurrency, where data lies) is a deployment's affair and
stands in `laion_coco_assets.settings`.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from laion_coco_assets.contract.extensions import is_dotted_path
from laion_coco_assets.errors import ProfileError

#: A trial's, and more than any shard has.
MOST_SAMPLES = 999_999_999
_PROFILES = Path(str(resources.files("laion_coco_assets.contract"))) / "profiles"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FetchSettings(_Section):
    """What decides whether a URL becomes an image, and which."""

    user_agent: str = Field(min_length=1, description="honest, with a contact URL")
    total_timeout_s: float = Field(
        gt=0, le=600, description="from the first DNS look-up to the last byte, redirects in"
    )
    connect_timeout_s: float = Field(gt=0, le=600)
    max_redirects: int = Field(ge=0, le=20)
    retries: int = Field(ge=0, le=10, description="further tries after a transient failure")
    max_bytes: int = Field(gt=0, le=1 << 30)
    max_pixels: int = Field(gt=0, le=1 << 28)
    min_side: int = Field(ge=1, description="pixels; a smaller image is too_small")
    max_aspect_ratio: float = Field(ge=1, description="longer side over shorter side")
    respect_opt_out: bool = Field(description="refuse images whose response opts out of machine learning")
    perceptual_hash: bool = Field(
        default=False, description="record each image's 64-bit DCT hash, to find near duplicates"
    )
    robots: bool = Field(
        default=False,
        description="ask each host's robots.txt first, and heed what it says to user_agent's product token",
    )
    max_samples: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SAMPLES,
        exclude_if=lambda rows: rows is None,  # whole shards are no setting: their fingerprint says nothing of it
        description="a trial: only so many rows of each shard, from its first",
    )


class _ModelSource(_Section):
    """What every model's section has: the class that runs it, its name, and where its weights come from."""

    type: str = Field(
        default="",
        exclude_if=lambda kind: not kind,  # what was made before the key existed keeps its fingerprint
        description="`package.module:Class` of a model of another kind; without it, the built-in kind",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        exclude_if=lambda options: not options,
        description="what a model of another kind takes; part of the fingerprint",
    )

    def __hash__(self) -> int:
        """Models are cached by their settings, and `options` is a dictionary."""
        return hash((type(self), self.model_dump_json()))

    @model_validator(mode="after")
    def _options_have_a_type(self) -> Self:
        if self.options and not self.type:
            raise ValueError("options: the built-in model takes none; name the `type` that does")
        if self.type and not is_dotted_path(self.type):
            raise ValueError(f"type: should be of the form package.module:Class, not {self.type!r}")
        return self


class CaptionerSource(_ModelSource):
    """Which captioner: BLIP's weights, a hub name at a revision or a local transformers folder, or another `type`."""

    name: str = Field(min_length=1, description="hub name")
    revision: str = Field(default="main", min_length=1, description="commit of the hub's repository")
    path: Path | None = Field(default=None, strict=False, description="a local folder instead of the hub")


class RankerSource(_ModelSource):
    """Which ranker: a CLIP by open_clip's names or a local copy, or another `type`.

    `path` is a folder in open_clip's own format (open_clip_config.json and weights), or one weights file for the
    architecture `name`. `pretrained` also says how the weights were trained: OpenAI's use QuickGELU.
    """

    name: str = Field(min_length=1, description="open_clip's name of the architecture")
    pretrained: str = Field(default="", description="open_clip's tag of the weights")
    revision: str = Field(default="main", min_length=1, description="commit of the hub repository open_clip names")
    path: Path | None = Field(default=None, strict=False, description="a local folder or file instead of the hub")

    @model_validator(mode="after")
    def _open_clip_names_weights(self) -> Self:
        if not self.type and not self.pretrained:
            raise ValueError("pretrained: missing")
        return self


class MaxLength(_Section):
    """So many candidates may grow to so many tokens after the prompt."""

    tokens: int = Field(ge=1, le=500)
    candidates: int = Field(ge=1)


class CaptionSettings(_Section):
    """BLIP's sampling (worker's settings in the profile `laion-coco`)."""

    model: CaptionerSource
    seed: int = Field(ge=0, lt=1 << 63)
    prompt: str
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=1)
    temperature: float = Field(gt=0)
    repetition_penalty: float = Field(ge=1)
    min_length: int = Field(ge=0, description="tokens after the prompt before which the end is masked")
    max_lengths: tuple[MaxLength, ...] = Field(min_length=1, strict=False)
    forced_end: float = Field(gt=0, le=1, description="a candidate ends when its raw p(EOS) exceeds this; 1 never")

    @property
    def candidates(self) -> int:
        """How many captions are drawn for an image."""
        return sum(each.candidates for each in self.max_lengths)

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        shortest = min(each.tokens for each in self.max_lengths)
        if self.min_length > shortest:
            raise ValueError(f"min_length is {self.min_length}, above the shortest max length of {shortest}")
        return self


class RankSettings(_Section):
    """A CLIP that scores captions, and how many of the best it keeps."""

    model: RankerSource
    keep: int = Field(ge=1, le=1000)


class FinalSettings(_Section):
    """The CLIP that picks the winner of the kept ones."""

    model: RankerSource


class PublishSettings(_Section):
    """What decides whether a captioned sample is published."""

    title: str = Field(min_length=1, description="the data set's name on its card")


class Profile(_Section):
    """Every setting that can change an output, and the classes that make it. `final` absent: the first ranker's best wins (the worker's last mode)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=63)]
    fetch: FetchSettings
    caption: CaptionSettings
    rank: RankSettings
    final: FinalSettings | None = None
    publish: PublishSettings
    stages: tuple[str, ...] = Field(
        default=(), strict=False, description="further stages, as package.module:Class; see docs/extending.md"
    )
    stage_settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="what a further stage takes, by its name; part of its fingerprint"
    )
    sources: tuple[str, ...] = Field(
        default=(), strict=False, description="further source formats, as package.module:Class"
    )
    resources: str = Field(
        default="",
        description="package.module:function that gives resources in place of the deployment's, as the demo has",
    )

    def capped(self, max_samples: int) -> Self:
        """The same profile for a trial on the first `max_samples` rows of each shard."""
        return self.model_copy(update={"fetch": self.fetch.model_copy(update={"max_samples": max_samples})})

    @model_validator(mode="after")
    def _keep_within_candidates(self) -> Self:
        if self.rank.keep > self.caption.candidates:
            raise ValueError(f"rank.keep is {self.rank.keep}, but only {self.caption.candidates} captions are drawn")
        return self


def shipped_profiles() -> list[str]:
    """Names of the profiles in the package."""
    return sorted(each.stem for each in _PROFILES.glob("*.toml"))


def load_profile(name_or_file: str | Path) -> Profile:
    """The profile of a shipped name (`laion-coco`) or of a TOML file.

    A file may start from another with `base = "laion-coco"` (a shipped name or a file beside it) and say only what
    differs. Paths of models are relative to the file that names them.

    Raises:
        ProfileError: no such profile, not TOML, or a key that is unknown, missing or impossible.
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
        raise ProfileError(f"{file}: can not be read: {error.strerror}") from None
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
        return  # absent, or of a wrong type: the validation says so
    resolved = (file.parent / Path(path).expanduser()).resolve()
    if not resolved.exists():
        raise ProfileError(
            f"{file}: {stage}.model.path: {resolved} does not exist; "
            "put the model there, or leave the key out to load it by its hub name"
        )
    model["path"] = str(resolved)


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` laid over `base`, table by table. A value of `false` for `final` takes the base's table away."""
    merged = dict(base)
    for key, value in own.items():
        if key == "final" and value is False:
            merged.pop("final", None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _over(base[key], value)
        else:
            merged[key] = value
    return merged


def _explain(file: Path, error: ValidationError) -> str:
    lines = []
    for each in error.errors():
        key = ".".join(str(part) for part in each["loc"]) or "(the whole profile)"
        match each["type"]:
            case "extra_forbidden":
                what = "unknown key; is it misspelt?"
            case "missing":
                what = "missing"
            case _:
                shown = "" if isinstance(each["input"], dict) else f", not {each['input']!r}"
                what = each["msg"].removeprefix("Value error, ") + shown
        lines.append(f"{file}: {key}: {what}")
    return "\n".join(lines)
