"""The list of reasons is closed, and none of it is there in name only: each is what becomes of some URL."""

import pytest

from laion_coco_assets.contract.reasons import DESCRIPTIONS, Reason
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetcher
from laion_coco_assets.publishing.removal_list import REMOVED
from laion_coco_assets_tests.fetching.names import NameServer
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, BadServer, Connection
from laion_coco_assets_tests.images import pictures

#: A URL for each; `{at}` is the server's host and port. Those of the two maps below need more than a URL.
URLS: dict[Reason, str] = {
    Reason.INVALID_URL: "http://",
    Reason.CREDENTIALS_IN_URL: "http://me:secret@{at}/good",
    Reason.SCHEME: "file:///etc/hostname",
    Reason.BLOCKED_ADDRESS: "http://10.0.0.1/",
    Reason.DNS: "http://unknown.test/",
    Reason.REFUSED: "http://{at}/closes_at_once",
    Reason.TLS: "https://{at}/good",
    Reason.TIMEOUT: "http://{at}/request_timeout",
    Reason.PROTOCOL: "http://{at}/no_http",
    Reason.TOO_MANY_REDIRECTS: "http://{at}/redirect_loop",
    Reason.HTTP_4XX: "http://{at}/gone",
    Reason.RATE_LIMITED: "http://{at}/slow_down",
    Reason.HTTP_5XX: "http://{at}/broken",
    Reason.OPTED_OUT: "http://{at}/opt_out",
    Reason.TOO_LARGE: "http://{at}/promised_too_large",
    Reason.TRUNCATED: "http://{at}/half_a_file",
    Reason.NOT_AN_IMAGE: "http://{at}/html_as_jpeg",
    Reason.UNSUPPORTED_FORMAT: "http://{at}/svg",
    Reason.BOMB: "http://{at}/bomb",
    Reason.DECODE_ERROR: "http://{at}/garbled",
    Reason.TOO_SMALL: "http://{at}/pixel",
    Reason.ASPECT_RATIO: "http://{at}/banner",
}


async def closed(at: Connection) -> None:
    await at.answer("200 OK", b"User-agent: *\nDisallow: /\n")


def test_each_reason_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEHAVIOURS, "/robots.txt", closed)
    with BadServer() as server, NameServer({}) as names:
        means = FetchDeployment(
            allow_networks=("127.0.0.0/8",),
            nameservers=(names.address,),
            backoff_s=0.001,
            breaker_failures=0,
            decode_workers=2,
        )
        urls = [url.format(at=f"127.0.0.1:{server.port}") for url in URLS.values()]
        with Fetcher(pictures.settings(), means) as fetcher:
            *found, again = [each.reason for each in fetcher.fetch([*urls, urls[0]])]
        with Fetcher(pictures.settings(robots=True), means) as fetcher:
            (shut_out,) = [each.reason for each in fetcher.fetch([server.url("/good")])]
    assert dict(zip(URLS, found, strict=True)) == {reason: reason for reason in URLS}
    assert (again, shut_out) == (Reason.DUPLICATE_URL, Reason.ROBOTS)
    assert {*URLS, again, shut_out} == set(Reason) == set(DESCRIPTIONS)


def test_the_names_are_those_that_files_and_rules_have() -> None:
    """As stage files hold them: whoever counts by reason counts on these. `removed` is the ledger's alone."""
    names = (
        "invalid_url credentials_in_url scheme blocked_address dns refused tls timeout too_many_redirects http_4xx "
        "rate_limited http_5xx too_large truncated opted_out robots not_an_image unsupported_format bomb decode_error "
        "too_small aspect_ratio duplicate_url removed protocol"
    )
    assert {*Reason, REMOVED} == set(names.split())
