"""The one table of a deployment's settings: where data lies, what the machine has, when schedules run.

Environment variables, the terminal's flags and docs/settings.md are derived from it. No setting can change what an
output means: the settings that do are in a profile, see `laion_coco_assets.contract.profile`.
"""

import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Self, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.deployment import FetchDeployment

#: Each setting's environment variable is this and the setting's name in capitals.
PREFIX: Final = "LAION_COCO_"


@dataclass(frozen=True)
class Shown:
    """How a setting is shown beyond its name, type, default, bounds and description."""

    group: str
    #: Commands of the terminal that take it as a flag.
    commands: tuple[str, ...] = ()
    #: The flag's name if it is not the setting's. Such a flag takes one value and may be repeated.
    flag: str = ""
    #: The terminal's default if it is another one; `...`: the flag is required.
    terminal_default: Any = None
    #: Whether the terminal reads the environment variable, too. All other flags ignore their variable.
    reads_variable: bool = False
    #: The default in words, if other settings decide it.
    default: str = ""


@dataclass(frozen=True)
class _OfFetcher:
    """Marks a setting that is a field of `FetchDeployment`."""

    field: str


def _of_fetcher(field: str) -> Any:
    """Default, bounds and description as `FetchDeployment` declares them."""
    info = copy(FetchDeployment.model_fields[field])
    info.metadata = [*info.metadata, _OfFetcher(field)]
    return info


_DATA: Final = "Data"
_MODELS: Final = Shown("Models", commands=("run", "bench"))
_FETCHING: Final = Shown("Fetching", commands=("run", "fetch"))
_DAGSTER: Final = Shown("Dagster")


def _repeated(flag_name: str) -> Shown:
    return replace(_FETCHING, flag=flag_name)


class Settings(BaseModel):
    """Read once, from the environment (Dagster) or from flags (the terminal)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Annotated[str, Shown(_DATA, commands=("run", "fetch"), terminal_default="laion-coco")] = Field(
        default="demo", description="A shipped profile (laion-coco, laion-idle-cap, demo) or a TOML file."
    )
    data_dir: Annotated[
        str, Shown(_DATA, commands=("demo", "run", "fetch", "export", "check", "clean"), terminal_default=...)
    ] = Field(default="data", description="Folder or fsspec URL (s3://…, gs://…) that the stages write to.")
    source: Annotated[
        str, Shown(_DATA, commands=("run", "fetch"), terminal_default=..., default="<data dir>/source")
    ] = Field(
        default="",
        description="Parquet with columns URL and TEXT: a file, a folder, a quoted glob. "
        "Or images: WebDataset tars, a folder.",
    )
    removals: Annotated[str, Shown(_DATA, commands=("run", "check"), reads_variable=True)] = Field(
        default="",
        description="URLs, sample_ids and domains that are not published: a text or parquet file, or a folder.",
    )
    device: Annotated[str, _MODELS] = Field(
        default="auto", description="The models' device: auto (CUDA, MPS, CPU in this order), cuda, cuda:1, mps or cpu."
    )
    dtype: Annotated[str, _MODELS] = Field(
        default="auto",
        description="auto (float32: the same captions in batches of any size), float32, bfloat16 (faster) or float16.",
    )
    batch_size: Annotated[int, Shown("Models", commands=("run",))] = Field(
        default=0,
        ge=0,
        le=4096,
        description="Most images that go through a model together; 0: as many as the device's free memory allows.",
    )
    allow_networks: Annotated[tuple[str, ...], _repeated("allow_network")] = _of_fetcher("allow_networks")
    host_spacing: Annotated[float, _FETCHING] = _of_fetcher("host_spacing_s")
    fetch_concurrency: Annotated[int, _FETCHING] = _of_fetcher("concurrency")
    fetch_requests_per_host: Annotated[int, _FETCHING] = _of_fetcher("requests_per_host")
    fetch_look_ahead: Annotated[int, _FETCHING] = _of_fetcher("look_ahead")
    fetch_byte_budget: Annotated[int, _FETCHING] = _of_fetcher("byte_budget")
    fetch_decode_workers: Annotated[int, _FETCHING] = _of_fetcher("decode_workers")
    fetch_decode_timeout_s: Annotated[int, _FETCHING] = _of_fetcher("decode_timeout_s")
    fetch_backoff_s: Annotated[float, _FETCHING] = _of_fetcher("backoff_s")
    fetch_max_backoff_s: Annotated[float, _FETCHING] = _of_fetcher("max_backoff_s")
    fetch_breaker_failures: Annotated[int, _FETCHING] = _of_fetcher("breaker_failures")
    fetch_breaker_open_s: Annotated[float, _FETCHING] = _of_fetcher("breaker_open_s")
    fetch_nameservers: Annotated[tuple[str, ...], _repeated("fetch_nameserver")] = _of_fetcher("nameservers")
    fetch_ca_file: Annotated[Path | None, _FETCHING] = _of_fetcher("ca_file")
    thumbnails: Annotated[bool, _DAGSTER] = Field(
        default=True, description="Thumbnails beside the example captions in the UI; false keeps images out of events."
    )
    owners: Annotated[tuple[str, ...], _DAGSTER] = Field(
        default=(), description="Who answers for the assets, as the UI shows it: addresses, or teams such as team:data."
    )
    shards_per_run: Annotated[int, _DAGSTER] = Field(
        default=20, ge=1, le=10_000, description="Shards that a backfill puts into one run."
    )
    schedule_cron: Annotated[str, _DAGSTER] = Field(
        default="0 * * * *", description="When the schedule missing_shards runs, once it is turned on."
    )
    schedule_shards: Annotated[int, _DAGSTER] = Field(
        default=100, ge=1, le=10_000, description="Most shards of one stage that one of its ticks requests."
    )
    schedule_ahead: Annotated[int, _DAGSTER] = Field(
        default=200,
        ge=1,
        le=100_000,
        description="Most shards that may be fetched but not yet published: their images need disk space.",
    )
    refetch_cron: Annotated[str, _DAGSTER] = Field(
        default="30 3 * * *", description="When the schedule refetch_transient runs, once it is turned on."
    )
    refetch_shards: Annotated[int, _DAGSTER] = Field(
        default=20, ge=1, le=10_000, description="Most shards that one of its ticks refetches."
    )
    refetch_after_days: Annotated[float, _DAGSTER] = Field(
        default=7.0, ge=0, le=3650, description="Fewest days between a shard's last fetch and its refetch."
    )
    refetch_times: Annotated[int, _DAGSTER] = Field(
        default=2, ge=1, le=100, description="Most times that a shard is refetched."
    )

    @property
    def source_or_default(self) -> str:
        """Where the source shards are."""
        return self.source or f"{self.data_dir.rstrip('/')}/source"

    def fetch_deployment(self) -> dict[str, Any]:
        """The fetcher's settings that are not its defaults, as plain values, by the names of `FetchDeployment`'s fields."""
        values = self.model_dump(mode="json")
        return {field: values[name] for name, field in fetcher_fields().items() if self.changed(name)}

    def changed(self, name: str) -> bool:
        """Whether a setting has another value than its default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @field_validator("schedule_cron", "refetch_cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        import dagster as dg

        try:
            dg.ScheduleDefinition(job_name="any", cron_schedule=cron)
        except dg.DagsterInvalidDefinitionError:
            raise ValueError("should be a cron schedule, such as 0 * * * *") from None
        return cron

    @field_validator("owners")
    @classmethod
    def _are_owners(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        import dagster as dg

        try:
            dg.AssetSpec("any", owners=owners)
        except dg.DagsterInvalidDefinitionError:
            raise ValueError("should be addresses, or teams such as team:data") from None
        return owners

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings from LAION_COCO_* variables; the rest are defaults.

        Raises:
            UserError: a variable has an impossible value, or names no setting.
        """
        given: dict[str, Any] = {}
        for name, value in environ.items():
            if name.startswith(PREFIX) and value:
                setting = name.removeprefix(PREFIX).lower()
                given[setting] = tuple(filter(None, value.split(","))) if is_list(setting) else value
        return cls._checked(given, variable)

    @classmethod
    def from_flags(cls, **given: Any) -> Self:
        """Settings from the terminal's flags; raises UserError that names the flag."""
        return cls._checked(given, flag)

    @classmethod
    def _checked(cls, given: Mapping[str, Any], name_of: Callable[[str], str]) -> Self:
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = []
            for problem in error.errors():
                name = name_of(str(problem["loc"][0]))
                if problem["type"] == "extra_forbidden":
                    known = ", ".join(name_of(setting) for setting in cls.model_fields)
                    lines.append(f"{name}: names no setting; the settings are {known}")
                else:
                    lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}, not {problem['input']!r}")
            raise UserError("\n".join(lines)) from None


def shown(name: str) -> Shown:
    """How a setting is shown."""
    (how,) = (mark for mark in Settings.model_fields[name].metadata if isinstance(mark, Shown))
    return how


def variable(name: str) -> str:
    """A setting's environment variable."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """A setting's flag, whether or not a command takes it."""
    own = shown(name).flag if name in Settings.model_fields else ""
    return "--" + (own or name).replace("_", "-")


def is_list(name: str) -> bool:
    """Whether a setting takes several values: separated by commas in a variable, each with a flag of its own."""
    return name in Settings.model_fields and get_origin(Settings.model_fields[name].annotation) is tuple


def fetcher_fields() -> dict[str, str]:
    """The field of `FetchDeployment` that each setting of the fetcher is, by the setting's name."""
    return {
        name: mark.field
        for name, info in Settings.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, _OfFetcher)
    }


def description(info: FieldInfo) -> str:
    """A setting's description as one sentence."""
    text = info.description or ""
    return text if text.endswith(".") else f"{text[:1].upper()}{text[1:]}."
