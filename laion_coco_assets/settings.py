"""A deployment's settings: where data lies and what the machine has. None of them can change an output's meaning.

What decides the outputs stands in a profile, see `laion_coco_assets.contract.profile`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from laion_coco_assets.errors import UserError

#: Each setting's environment variable is this and the setting's name in capitals.
PREFIX: Final = "LAION_COCO_"
#: Flags that name one each time they are given.
_REPEATED_FLAGS: Final = {"allow_networks": "allow_network"}


class Settings(BaseModel):
    """Read once, from the environment (Dagster) or from flags (the command line)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: str = Field(default="demo", description="a shipped profile's name, or a TOML file")
    data_dir: str = Field(default="data", description="folder or fsspec URL that the stages write to")
    source: str = Field(default="", description="file, folder or glob of source shards; empty: <data_dir>/source")
    device: str = Field(default="auto", description="auto (CUDA, MPS, CPU in this order), cuda, cuda:1, mps, cpu")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16, float16")
    batch_size: int = Field(
        default=0, ge=0, le=4096, description="images that go through a model together; 0 picks itself from free memory"
    )
    fetch_concurrency: int = Field(default=64, ge=1, le=10_000, description="requests in flight")
    fetch_lanes: int = Field(default=1, ge=1, le=64, description="processes that fetch, each host with one of them")
    host_spacing: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds between two requests to one host, at least",
    )
    allow_networks: tuple[str, ...] = Field(
        default=(), description="private networks that images may be fetched from, as 10.1.0.0/16,127.0.0.0/8"
    )
    removals: str = Field(
        default="",
        description="list of URLs, sample_ids and domains that are not published: text or parquet, or a folder",
    )
    thumbnails: bool = Field(default=True, description="thumbnails beside the example captions in the UI's events")
    shards_per_run: int = Field(default=20, ge=1, le=10_000, description="shards a backfill puts into one run")
    schedule_cron: str = Field(default="0 * * * *", description="when the schedule missing_shards looks, once it is on")
    schedule_shards: int = Field(default=100, ge=1, le=10_000, description="shards a tick requests of a step, at most")
    schedule_ahead: int = Field(
        default=200, ge=1, le=100_000, description="shards that may lie fetched and not published, at most: disk"
    )
    refetch_cron: str = Field(
        default="30 3 * * *", description="when the schedule refetch_transient looks, once it is on"
    )
    refetch_shards: int = Field(default=20, ge=1, le=10_000, description="shards a tick asks again for, at most")
    refetch_after_days: float = Field(
        default=7.0, ge=0, le=3650, description="days since a shard's images were fetched, at least"
    )
    refetch_times: int = Field(default=2, ge=1, le=100, description="how often a shard is asked again for, at most")

    @property
    def source_or_default(self) -> str:
        """Where source shards are looked for."""
        return self.source or f"{self.data_dir.rstrip('/')}/source"

    @field_validator("fetch_lanes")
    @classmethod
    def _has_enough_to_share(cls, lanes: int, info: ValidationInfo) -> int:
        if lanes > (concurrency := info.data.get("fetch_concurrency", lanes)):
            raise ValueError(f"should be at most {concurrency}, the requests in flight that lanes share")
        return lanes

    @field_validator("schedule_cron", "refetch_cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        import dagster as dg

        try:
            dg.ScheduleDefinition(job_name="any", cron_schedule=cron)
        except dg.DagsterInvalidDefinitionError:
            raise ValueError("should be a cron schedule, as 0 * * * *") from None
        return cron

    @field_validator("allow_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        from laion_coco_assets.fetching.addresses import parse_networks

        parse_networks(networks)
        return networks

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings from LAION_COCO_* variables; the rest are defaults.

        Raises:
            UserError: a variable with an impossible value, or one that names no setting.
        """
        given: dict[str, Any] = {}
        for variable, value in environ.items():
            if variable.startswith(PREFIX) and value:
                name = variable.removeprefix(PREFIX).lower()
                given[name] = tuple(filter(None, value.split(","))) if name == "allow_networks" else value
        return cls._checked(given, lambda name: PREFIX + name.upper())

    @classmethod
    def from_flags(cls, **given: Any) -> Self:
        """Settings from the command line's flags; raises UserError that names the flag."""
        return cls._checked(given, lambda name: "--" + _REPEATED_FLAGS.get(name, name).replace("_", "-"))

    @classmethod
    def _checked(cls, given: Mapping[str, Any], said_as: Callable[[str], str]) -> Self:
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = []
            for each in error.errors():
                name = said_as(str(each["loc"][0]))
                if each["type"] == "extra_forbidden":
                    known = ", ".join(said_as(field) for field in cls.model_fields)
                    lines.append(f"{name}: names no setting; the settings are {known}")
                else:
                    lines.append(f"{name}: {each['msg'].removeprefix('Value error, ')}, not {each['input']!r}")
            raise UserError("\n".join(lines)) from None
