"""Names to addresses: the deployment's own table first, then DNS through c-ares. Private answers are dropped here, and
again, for good, by the socket factory of `addresses`."""

import socket
from collections.abc import Mapping
from typing import Final

import aiodns
import pycares
from aiohttp.abc import AbstractResolver, ResolveResult

from laion_coco_assets.fetching.addresses import BlockedAddressError, Network, is_public
from laion_coco_assets.fetching.deployment import split_host_port
from laion_coco_assets.fetching.descriptors import shortage

_TIMEOUT_S: Final = 5.0
_TRIES: Final = 2
_NO_SUCH_NAME: Final = frozenset(
    {pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA, pycares.errno.ARES_EBADNAME}
)


class NoAddressError(OSError):
    """A look-up that gave no address. `final` if another one would give the same."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(None, message)
        self.final = final


class Resolver(AbstractResolver):
    """For aiohttp's TCPConnector. Belongs to one event loop."""

    def __init__(self, hosts: Mapping[str, str], nameservers: tuple[str, ...], allowed: tuple[Network, ...]) -> None:
        self._table = {split_host_port(name): split_host_port(target) for name, target in hosts.items()}
        self._allowed = allowed
        self._dns = aiodns.DNSResolver(nameservers=nameservers or None, timeout=_TIMEOUT_S, tries=_TRIES)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The public addresses of `host`.

        Raises:
            BlockedAddressError: every address is private.
            NoAddressError: the name has no address, or no server answered.
            OSError: the system has no socket left for the look-up.
        """
        bare = host.rstrip(".").lower()
        target = self._table.get((bare, port)) or self._table.get((bare, None))
        endpoints = (
            [(target[0], target[1] or port)]
            if target
            else [(address, port) for address in await self._look_up(host, family)]
        )
        public = [(address, public_port) for address, public_port in endpoints if is_public(address, self._allowed)]
        if not public:
            raise BlockedAddressError(endpoints[0][0])
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=public_port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address, public_port in public
        ]

    async def _look_up(self, host: str, family: socket.AddressFamily) -> list[str]:
        # c-ares opens its socket within the call. If there is none, it reports only that no name server answered.
        before = shortage()
        try:
            answer = await self._dns.getaddrinfo(
                host, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except aiodns.error.DNSError as error:
            code, message = (*error.args, "DNS look-up failed")[:2]
            final = code in _NO_SUCH_NAME
            if not final and (error_here := before or shortage()) is not None:
                raise error_here from None
            raise NoAddressError(str(message), final=final) from None
        addresses = [node.addr[0].decode("ascii", "replace") for node in answer.nodes]
        if not addresses:
            raise NoAddressError("the name has no address", final=True)
        return addresses

    async def close(self) -> None:
        """Ends the look-ups that are under way."""
        await self._dns.close()
