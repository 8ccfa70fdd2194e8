"""How this machine fetches: what can not change an output, so stands in no profile."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from laion_coco_assets.ahead import usable_cpus
from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.fetching.addresses import parse_networks


def split_host_port(text: str) -> tuple[str, int | None]:
    """`name`, `name:port`, `1.2.3.4:port`, `[::1]:port`. Raises ValueError for another form."""
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r}: not [IPv6]:port")
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"{text!r}: not host:port")
    return host.lower(), int(port) if port else None


def _checked_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    parse_networks(networks)
    return networks


def _checked_hosts(hosts: Mapping[str, str]) -> Mapping[str, str]:
    for name, target in hosts.items():
        split_host_port(name)
        ip_address(split_host_port(target)[0])
    return hosts


class FetchDeployment(BaseModel):
    """What of the network may be used, and how much of it at once. `FetchDeployment()` suits the public internet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(default=64, ge=1, le=10_000, description="requests in flight")
    per_host: int = Field(default=8, ge=1, description="of them, to one host")
    host_spacing_s: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="seconds between the starts of two requests to one host; redirects and further tries are requests",
    )
    look_ahead: int = Field(default=1024, ge=1, description="rows taken before the first of them is given back")
    max_bytes_held: int = Field(
        default=128 << 20,
        ge=1,
        description="bytes of bodies held before no request starts; twice as many, and bodies wait, unread",
    )
    lanes: int = Field(default=1, ge=1, le=64, description="processes that fetch, each host with one of them")
    decode_workers: int = Field(
        default_factory=lambda: min(8, usable_cpus()), ge=1, description="processes that decode"
    )
    decode_deadline_s: int = Field(default=60, ge=1, description="for one picture, on a loaded machine too")
    backoff_s: float = Field(default=1.0, gt=0, description="before the first retry, on average; doubles each time")
    max_backoff_s: float = Field(
        default=30.0, gt=0, description="between tries; a host that asks for longer is left alone"
    )
    host_failures: int = Field(
        default=20,
        ge=0,
        description="a host's rows in a row without an answer, or answers to slow down, till it is left alone; 0: never",
    )
    host_rest_s: float = Field(default=60.0, gt=0, description="for how long it is left alone")
    allow_networks: Annotated[tuple[str, ...], AfterValidator(_checked_networks)] = Field(
        default=(), description="private networks to open by name, such as 127.0.0.0/8"
    )
    hosts: Annotated[Mapping[str, str], AfterValidator(_checked_hosts)] = Field(
        default_factory=dict,
        description="name or name:port -> address or address:port, instead of a DNS look-up; the guard still holds",
    )
    nameservers: tuple[str, ...] = Field(default=(), description="address or address:port; the system's if empty")
    ca_file: Path | None = Field(default=None, description="PEM; trusted instead of the system's authorities")

    @field_validator("lanes")
    @classmethod
    def _has_enough_to_share(cls, lanes: int, info: ValidationInfo) -> int:
        if lanes > (concurrency := info.data.get("concurrency", lanes)):
            raise ValueError(f"should be at most {concurrency}, the requests in flight that lanes share")
        return lanes

    def lane(self) -> Self:
        """One of `lanes`: its share of what may be used at once."""
        share = {
            name: max(1, getattr(self, name) // self.lanes)
            for name in ("concurrency", "max_bytes_held", "decode_workers")
        }
        return self.model_copy(update={"lanes": 1, **share})

    def longest_s(self, settings: FetchSettings, *, rows: int, hosts: int) -> float:
        """Seconds on the network that `rows` rows, spread evenly over `hosts` hosts, take at most, whatever servers do.

        Each row has `retries` + 1 tries within `total_timeout_s` each, as many rows at once as there are slots; the waits
        between tries hold no slot, so overlap. A host may ask for a pause with each try's answer, and its rows wait one
        behind the other. With `host_spacing_s`, each of a row's requests, redirects among them, may wait for it. A host
        that never answers is left alone after `host_failures` rows, so that a dead one costs far less.

        Not in it: decoding, where a picture keeps at most two workers for `decode_deadline_s` each, and bodies that wait
        for memory (`max_bytes_held`). With `robots`, count one more row for each host.
        """
        at_once = min(self.lane().concurrency, self.per_host * hosts)  # chance may give one lane all hosts
        tries = settings.retries + 1
        tries_a_host = -(-rows // hosts) * tries
        return (
            -(-rows // at_once) * tries * settings.total_timeout_s
            + (settings.retries + tries_a_host) * self.max_backoff_s
            + tries_a_host * (settings.max_redirects + 1) * self.host_spacing_s
        )
