"""Which addresses may be connected to, and a socket factory that refuses the others at the moment of connecting.

Python's `ipaddress.is_global` is not enough: 3.11 passes 6to4, NAT64, IPv4-compatible and site-local addresses and two
clouds' metadata services. The lists follow IANA's special-purpose registries (RFC 6890 and its updates).
"""

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
AddrInfo = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]
]

_SPECIAL_V4: Final = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network; 0.0.0.0 connects to the machine itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service
        "169.254.0.0/16",  # link-local; most clouds' metadata service
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved; broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, deprecated: any IPv4 address in disguise
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, given back
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)  # upper half of the interface identifier, RFC 5214


def is_public(  # noqa: PLR0911 - one return per rule
    address: str | IPv4Address | IPv6Address, allowed: tuple[Network, ...] = ()
) -> bool:
    """Whether a fetch may connect to this address: one of the public internet, or in a network named in `allowed`.

    An IPv6 address that embeds an IPv4 one must pass as both. Text that is not an address is not public. An IPv4-mapped
    address counts as the IPv4 address that the kernel would connect to. NAT64 prefixes are special, so closed unless
    named, and an address embedded in one must itself be public or named.
    """
    if isinstance(address, str):
        try:
            address = ip_address(address)
        except ValueError:
            return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:  # an interface of this machine or its link
            return False
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped, allowed)
        embedded = _embedded(address)
        if embedded is not None and not is_public(embedded, allowed):
            return False
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in block for block in _SPECIAL_V4)
    return address in _GLOBAL_V6 and address.is_global and not any(address in block for block in _SPECIAL_V6)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator or tunnel would send this one's packets to."""
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    value = int(address)
    if any(address in network for network in _NAT64) or (value >> 32 & 0xFFFF_FFFF) in _ISATAP:
        return IPv4Address(value & 0xFFFF_FFFF)
    return None


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Networks in CIDR notation. Raises ValueError, naming the text, for one that is malformed or opens too much."""
    networks = tuple(ip_network(text) for text in texts)
    for network in networks:
        if network.prefixlen < (8 if network.version == 4 else 7):
            raise ValueError(f"{network}: too wide; name the networks that you mean (at most an IPv4 /8 or IPv6 /7)")
    return networks


class BlockedAddressError(OSError):
    """A connection to an address that is not public and not allowed. An OSError, as aiohttp expects at this place."""

    def __init__(self, address: str) -> None:
        super().__init__(None, f"{address} is not a public address")
        self.address = address


def guarded_socket_factory(allowed: tuple[Network, ...]) -> Callable[[AddrInfo], socket.socket]:
    """A factory for aiohttp's TCPConnector that sees the very address which is about to be connected to.

    Nothing can change it in between, so DNS answers that change, literals in any spelling and redirects are covered.
    The sockets raise BlockedAddressError instead of coming into being.
    """

    def create(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_public(address[0], allowed):
            raise BlockedAddressError(address[0])
        return socket.socket(family, kind, protocol)

    return create
