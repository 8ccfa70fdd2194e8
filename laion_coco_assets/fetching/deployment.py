"""How this machine fetches: settings that cannot change an output, so are in no profile."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from laion_coco_assets.ahead import usable_cpus
from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.fetching.addresses import parse_networks

_MOST_DECODERS: Final = 8


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
    """What of the network may be used, and how much of it at once. `FetchDeployment()` suits the public internet.

    The one place of these settings' names, defaults, bounds and descriptions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(default=64, ge=1, le=10_000, description="requests in flight")
    requests_per_host: int = Field(default=8, ge=1, description="requests in flight to one host")
    host_spacing_s: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="shortest time, in seconds, between the starts of two requests to one host, retries and redirects included; 0: none",
    )
    look_ahead: int = Field(default=1024, ge=1, description="rows read before the first of them is returned")
    byte_budget: int = Field(
        default=128 << 20,
        ge=1,
        description="bytes of response bodies in memory; at this no request starts, and at twice this bodies wait unread",
    )
    decode_workers: int = Field(
        default=0, ge=0, description=f"processes that decode images; 0: one per core, at most {_MOST_DECODERS}"
    )
    decode_timeout_s: int = Field(
        default=60, ge=1, description="longest time, in seconds, that decoding one image may take"
    )
    backoff_s: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="mean delay, in seconds, before the first retry; it doubles with each further one",
    )
    max_backoff_s: float = Field(
        default=30.0,
        gt=0,
        allow_inf_nan=False,
        description=(
            "longest delay, in seconds, before a retry, and longest Retry-After that is waited for; a longer one opens the host's "
            "circuit breaker"
        ),
    )
    breaker_failures: int = Field(
        default=20, ge=0, description="consecutive failures that open a host's circuit breaker; 0: it never opens"
    )
    breaker_open_s: float = Field(
        default=60.0,
        gt=0,
        allow_inf_nan=False,
        description="how long, in seconds, an open circuit breaker rejects the host's rows",
    )
    allow_networks: Annotated[tuple[str, ...], AfterValidator(_checked_networks)] = Field(
        default=(), description="private networks that may be connected to, such as 127.0.0.0/8"
    )
    hosts: Annotated[Mapping[str, str], AfterValidator(_checked_hosts)] = Field(
        default_factory=dict,
        description="name or name:port -> address or address:port, instead of a DNS look-up; the address guard still applies",
    )
    nameservers: tuple[str, ...] = Field(
        default=(), description="DNS servers, each address or address:port; empty: the system's"
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of certificate authorities, trusted instead of the system's"
    )

    @property
    def decode_processes(self) -> int:
        """Processes that decode images: `decode_workers`, or as many as suit this machine."""
        return self.decode_workers or min(_MOST_DECODERS, usable_cpus())

    def longest_s(self, settings: FetchSettings, *, rows: int, hosts: int) -> float:
        """Seconds on the network that `rows` rows, spread evenly over `hosts` hosts, take at most, whatever servers do.

        Each row has `retries` + 1 attempts within `total_timeout_s` each, as many rows at once as there are slots; the
        waits between attempts hold no slot, so overlap. A host may ask for a pause with each attempt's answer, and its
        rows wait one after another. With `host_spacing_s`, each of a row's requests, redirects among them, may wait for
        it. A host that never answers has an open circuit breaker after `breaker_failures` rows, so costs far less.

        Not counted: decoding, where an image keeps at most two workers for `decode_timeout_s` each, and bodies that wait
        for memory (`byte_budget`). With `robots`, count one more row for each host.
        """
        at_once = min(self.concurrency, self.requests_per_host * hosts)
        attempts = settings.retries + 1
        attempts_per_host = -(-rows // hosts) * attempts
        return (
            -(-rows // at_once) * attempts * settings.total_timeout_s
            + (settings.retries + attempts_per_host) * self.max_backoff_s
            + attempts_per_host * (settings.max_redirects + 1) * self.host_spacing_s
        )
