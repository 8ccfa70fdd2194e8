"""Names and certificates: what a name leads to, whom we trust, and that private addresses stay out of reach."""

import asyncio
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import ValidationError

from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.addresses import BlockedAddressError, guarded_socket_factory
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetched, Fetcher
from laion_coco_assets_tests.fetching.names import NameServer
from laion_coco_assets_tests.fetching.servers import BadServer
from laion_coco_assets_tests.images import pictures


def fetch(*urls: str, **deployment) -> list[Fetched]:
    deployment = FetchDeployment(**{"backoff_s": 0.001, "breaker_failures": 0, "decode_workers": 1} | deployment)
    with Fetcher(pictures.settings(), deployment) as fetcher:
        return list(fetcher.fetch(urls))


LOOPBACK = ("127.0.0.0/8",)


def test_dns():
    table: dict[str, list[str] | None] = {
        "good.test": ["127.0.0.1"],
        "mixed.test": ["10.0.0.1", "127.0.0.1"],
        "private.test": ["10.0.0.1"],
        "metadata.test": ["169.254.169.254", "100.100.100.200"],
        "broken.test": None,
        "nothing.test": [],
    }
    with BadServer() as server, NameServer(table) as names:
        urls = [f"http://{name}:{server.port}/good" for name in (*table, "unknown.test")]
        results = fetch(*urls, allow_networks=LOOPBACK, nameservers=(names.address,))
    good, mixed, private, metadata, broken, nothing, unknown = (got.reason for got in results)
    assert good is None
    assert mixed is None  # its private address was left out
    assert private is metadata is Reason.BLOCKED_ADDRESS
    assert broken is nothing is unknown is Reason.DNS
    assert names.asked["broken.test"] > names.asked["unknown.test"]  # a name that does not exist is not asked for again


def test_a_name_server_that_is_not_there_is_dns():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    (got,) = fetch("http://good.test/", nameservers=(address,))
    assert (got.reason, got.detail) == (Reason.DNS, "Could not contact DNS servers")


def test_without_permission_loopback_is_blocked_however_it_is_spelt():
    with BadServer() as server, NameServer({"rebound.test": ["127.0.0.1"]}) as names:
        hosts = (
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "rebound.test",
        )
        results = fetch(*(f"http://{host}:{server.port}/good" for host in hosts), nameservers=(names.address,))
        assert server.asked == {}
    assert {got.reason for got in results} == {Reason.BLOCKED_ADDRESS}


def test_opening_one_network_opens_no_other():
    with BadServer() as server:
        results = fetch(
            server.url("/good"),
            f"http://[::1]:{server.port}/good",
            "http://10.0.0.1/",
            allow_networks=("127.0.0.1/32",),
        )
    assert [got.reason for got in results] == [None, Reason.BLOCKED_ADDRESS, Reason.BLOCKED_ADDRESS]


def test_an_answer_that_changes_after_the_look_up_meets_the_guard_at_connect():
    class Lying(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
            return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

        async def close(self) -> None:
            pass

    async def scenario(url: str) -> None:
        connector = aiohttp.TCPConnector(resolver=Lying(), socket_factory=guarded_socket_factory(()))
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await session.get(url)
        assert isinstance(refused.value.os_error, BlockedAddressError)

    with BadServer() as server:
        asyncio.run(scenario(f"http://public.test:{server.port}/good"))
        assert server.asked == {}


def test_hosts_are_mapped_as_curls_connect_to_does():
    with BadServer() as server:
        here = f"127.0.0.1:{server.port}"
        good, by_port, other, blocked, address = fetch(
            "http://demo.laion-coco.test/good",
            "http://shop.test:8080/good",
            "http://shop.test:8081/good",
            "http://inside.test/good",
            f"http://port.test:{server.port}/good",
            allow_networks=LOOPBACK,
            hosts={
                "demo.laion-coco.test": here,
                "shop.test:8080": here,
                "shop.test": "127.0.0.1:1",
                "inside.test": "10.0.0.1:80",
                "PORT.test": "127.0.0.1",
            },
        )
    assert good.reason is None
    assert good.final_url == "http://demo.laion-coco.test/good"
    assert by_port.reason is None
    assert other.reason is Reason.REFUSED
    assert blocked.reason is Reason.BLOCKED_ADDRESS
    assert address.reason is None


def test_mapped_hosts_pass_the_guard_only_if_their_network_is_open():
    with BadServer() as server:
        (got,) = fetch("http://demo.test/good", hosts={"demo.test": f"127.0.0.1:{server.port}"})
    assert got.reason is Reason.BLOCKED_ADDRESS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    return made


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def test_tls_with_a_trusted_certificate(authority: trustme.CA, ca_file: Path):
    with BadServer(context(authority.issue_cert("shop.test", "127.0.0.1"))) as server:
        paths = ("/good", "/good?2", "/redirect", "/too_short", "/chunked_for_ever", "/silent_never")
        hosts = {"shop.test": f"127.0.0.1:{server.port}"}
        urls = [f"https://shop.test{path}" for path in paths[:-1]]
        results = fetch(*urls, server.url("/good"), allow_networks=LOOPBACK, hosts=hosts, ca_file=ca_file)
    assert [got.reason for got in results] == [None, None, None, Reason.TRUNCATED, Reason.TOO_LARGE, None]


def test_tls_that_is_not_to_be_trusted(authority: trustme.CA, ca_file: Path):
    from datetime import UTC, datetime, timedelta

    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificates = {
        "certificate: certificate has expired": authority.issue_cert("shop.test", not_after=yesterday),
        "certificate: Hostname mismatch": authority.issue_cert("other.test"),
        "certificate: unable to get local issuer certificate": trustme.CA().issue_cert("shop.test"),
    }
    for detail, certificate in certificates.items():
        with BadServer(context(certificate)) as server:
            (got,) = fetch(
                "https://shop.test/good",
                allow_networks=LOOPBACK,
                hosts={"shop.test": f"127.0.0.1:{server.port}"},
                ca_file=ca_file,
            )
            assert got.reason is Reason.TLS
            assert (got.detail or "").startswith(detail)
            assert server.asked == {}


def test_tls_with_a_self_signed_certificate(ca_file: Path, tmp_path: Path):
    alone = trustme.CA()
    alone.cert_pem.write_to_path(tmp_path / "alone.pem")
    alone.private_key_pem.write_to_path(tmp_path / "alone.key")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(tmp_path / "alone.pem", tmp_path / "alone.key")
    with BadServer(made) as server:
        (got,) = fetch(server.url("/good"), allow_networks=LOOPBACK, ca_file=ca_file)
        assert server.asked == {}
    assert (got.reason, got.detail) == (Reason.TLS, "certificate: self-signed certificate")


def test_tls_where_there_is_none():
    with BadServer() as server:
        (got,) = fetch(server.url("/good").replace("http:", "https:"), allow_networks=LOOPBACK)
    assert got.reason is Reason.TLS
    assert (got.http_status, got.final_url) == (None, None)


def test_http_where_there_is_tls(authority: trustme.CA):
    with BadServer(context(authority.issue_cert("127.0.0.1"))) as server:
        (got,) = fetch(server.url("/good").replace("https:", "http:"), allow_networks=LOOPBACK)
    assert got.reason in (Reason.REFUSED, Reason.PROTOCOL)


def test_nobody_listens_and_nobody_shakes_hands():
    with socket.socket() as listening, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # the kernel accepts; nobody ever answers
        deployment = FetchDeployment(allow_networks=LOOPBACK, backoff_s=0.001)
        with Fetcher(pictures.settings(connect_timeout_s=0.5), deployment) as fetcher:
            refused, silent = fetcher.fetch(
                [f"http://127.0.0.1:{unused.getsockname()[1]}/", f"https://127.0.0.1:{listening.getsockname()[1]}/"]
            )
    assert (refused.reason, refused.detail) == (Reason.REFUSED, "no connection (ECONNREFUSED)")
    assert (silent.reason, silent.detail) == (Reason.TIMEOUT, "no connection in time")


def test_a_ca_file_that_is_none_is_the_users_mistake(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("nothing")
    for file in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(UserError, match=r"\.pem: not a usable file"):
            Fetcher(pictures.settings(), FetchDeployment(ca_file=file))


@pytest.mark.parametrize(
    "wrong",
    [
        {"allow_networks": ("0.0.0.0/0",)},
        {"allow_networks": ("localhost",)},
        {"hosts": {"a.test": "b.test:80"}},
        {"hosts": {"a.test": "127.0.0.1:0"}},
        {"hosts": {"a.test": "127.0.0.1:port"}},
        {"hosts": {"": "127.0.0.1:80"}},
        {"concurrency": 0},
        {"unknown": 1},
    ],
)
def test_a_deployment_that_can_not_be_is_refused_at_once(wrong: dict):
    with pytest.raises(ValidationError):
        FetchDeployment(**wrong)
