"""The aiohttp session that all requests of a fetcher share: its connections, headers, resolver and trusted certificates."""

import ssl
from typing import Final

import aiohttp

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.addresses import guarded_socket_factory, parse_networks
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.resolver import Resolver

_DNS_TTL_S: Final = 300
_DNS_CACHED_HOSTS: Final = 50_000
#: A connection is kept only while another row wants its host, so idle ones need not linger and use up descriptors.
_KEEP_ALIVE_S: Final = 2.0


class HttpSession:
    """A session and its resolver. Belongs to the event loop that is running when it is made.

    Raises:
        UserError: the deployment's `ca_file` cannot be used.
    """

    def __init__(self, settings: FetchSettings, deployment: FetchDeployment) -> None:
        context = tls_context(deployment)
        allowed = parse_networks(deployment.allow_networks)
        self._resolver = Resolver(deployment.hosts, deployment.nameservers, allowed)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # `http_request` limits requests instead, outside of the deadlines
                resolver=self._resolver,
                ttl_dns_cache=_DNS_TTL_S,
                dns_cache_max_size=_DNS_CACHED_HOSTS,
                keepalive_timeout=_KEEP_ALIVE_S,
                socket_factory=guarded_socket_factory(allowed),
                ssl=context,
            ),
            timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout_s),
            headers={"User-Agent": settings.user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # no proxy or .netrc from the environment: a proxy would hide addresses from the guard
        )

    @property
    def client(self) -> aiohttp.ClientSession:
        """The session."""
        return self._session

    async def close(self) -> None:
        """Ends all connections and look-ups."""
        await self._session.close()
        await self._resolver.close()


def tls_context(deployment: FetchDeployment) -> ssl.SSLContext:
    """One context for all connections: making one costs more than a request.

    Raises:
        UserError: the deployment's `ca_file` cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=deployment.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"{deployment.ca_file}: not a usable file of certificate authorities ({error}); ca_file must be PEM"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
