"""The guard over the whole way: redirects and DNS answers that lead to places which are none of our business."""

from urllib.parse import quote

import pytest

from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetched, Fetcher
from laion_coco_assets_tests.fetching.names import NameServer
from laion_coco_assets_tests.fetching.servers import BadServer
from laion_coco_assets_tests.images import pictures

BLOCKED, INVALID, SCHEME = Reason.BLOCKED_ADDRESS, Reason.INVALID_URL, Reason.SCHEME

#: Where a redirect leads, and the reason that ends it. Loopback 127.0.0.0/8 is open here: the server is on it.
LOCATIONS: dict[str, Reason] = {
    # IPv4 in every spelling that a browser takes
    "http://10.0.0.1/": BLOCKED,
    "http://172.16.0.1:8080/": BLOCKED,
    "http://192.168.1.1/": BLOCKED,
    "http://169.254.169.254/latest/meta-data/": BLOCKED,
    "//169.254.169.254/latest/": BLOCKED,
    "http://2852039166/": BLOCKED,
    "http://0xa9fea9fe/": BLOCKED,
    "http://0251.0376.0251.0376/": BLOCKED,
    "http://0xa9.0xfe.43518/": BLOCKED,
    "http://169.254.169.254./": BLOCKED,
    "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/": BLOCKED,
    "http://0/": BLOCKED,
    "http://0.0.0.0/": BLOCKED,
    "http://100.64.0.1/": BLOCKED,
    "http://192.0.2.1/": BLOCKED,
    "http://198.18.0.1/": BLOCKED,
    "http://224.0.0.1/": BLOCKED,
    "http://255.255.255.255/": BLOCKED,
    # IPv6: unspecified, loopback, link-local, site-local, unique local, multicast, documentation
    "http://[::]/": BLOCKED,
    "http://[::1]/": BLOCKED,
    "http://[0:0:0:0:0:0:0:1]/": BLOCKED,
    "http://[fe80::1]/": BLOCKED,
    "http://[fec0::1]/": BLOCKED,
    "http://[fd00:ec2::254]/": BLOCKED,
    "http://[ff02::1]/": BLOCKED,
    "http://[2001:db8::1]/": BLOCKED,
    "http://[3fff::1]/": BLOCKED,
    # IPv4 within IPv6: mapped, compatible, translated, 6to4, Teredo, NAT64
    "http://[::ffff:10.0.0.1]/": BLOCKED,
    "http://[::ffff:a9fe:a9fe]/": BLOCKED,
    "http://[::10.0.0.1]/": BLOCKED,
    "http://[::ffff:0:10.0.0.1]/": BLOCKED,
    "http://[2002:a9fe:a9fe::]/": BLOCKED,
    "http://[2001:0:4136:e378:8000:63bf:5601:5601]/": BLOCKED,
    "http://[64:ff9b::a9fe:a9fe]/": BLOCKED,
    "http://[64:ff9b:1::10.0.0.1]/": BLOCKED,
    # zones name interfaces of this machine
    "http://[fe80::1%25eth0]/": INVALID,
    "http://[fe80::1%eth0]/": INVALID,
    "http://[::1%251]/": INVALID,
    # what is no web address
    "file:///etc/hostname": SCHEME,
    "FILE://localhost/etc/hostname": SCHEME,
    "ftp://127.0.0.1/a.jpg": SCHEME,
    "data:image/gif;base64,R0lGODlhAQABAAAAACw=": SCHEME,
    "gopher://127.0.0.1:70/": SCHEME,
    "javascript:alert(1)": SCHEME,
    "http://me:hunter2@10.0.0.1/": Reason.CREDENTIALS_IN_URL,
    "http://127.0.0.1\\@10.0.0.1/": Reason.CREDENTIALS_IN_URL,
    # names
    "http://private.test/": BLOCKED,
    "http://unknown.test/": Reason.DNS,
}


def loopback(names: NameServer, **changes) -> FetchDeployment:
    return FetchDeployment(
        allow_networks=("127.0.0.0/8",), nameservers=(names.address,), backoff_s=0.001, breaker_failures=0, **changes
    )


def test_no_redirect_leads_to_a_place_that_is_closed():
    with BadServer() as server, NameServer({"private.test": ["10.0.0.1"]}) as names:
        with Fetcher(pictures.settings(), loopback(names)) as fetcher:
            urls = [server.url(f"/redirect_to?{quote(location, safe='')}") for location in LOCATIONS]
            results = list(fetcher.fetch(urls))
        assert {path.partition("?")[0] for path in server.asked} == {"/redirect_to"}
    assert {location: got.reason for location, got in zip(LOCATIONS, results, strict=True)} == LOCATIONS
    assert not any("hunter2" in (got.detail or "") for got in results)


def one(url: str, names: NameServer) -> Fetched:
    with Fetcher(pictures.settings(), loopback(names)) as fetcher:
        (got,) = fetcher.fetch([url])
    return got


def test_a_name_that_changes_its_answer_between_look_ups_gains_nothing():
    table = {"rebinding.test": [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254", "fd00::1"]]}
    with BadServer() as server, NameServer(table) as names:
        url = f"http://rebinding.test:{server.port}/good"
        reasons = [one(url, names).reason for _ in range(3)]
    assert reasons == [None, BLOCKED, BLOCKED]


def test_one_run_looks_a_name_up_once():
    with BadServer() as server, NameServer({"rebinding.test": [["127.0.0.1"], ["10.0.0.1"]]}) as names:
        with Fetcher(pictures.settings(), loopback(names)) as fetcher:
            url = f"http://rebinding.test:{server.port}/good"
            reasons = [got.reason for n in range(10) for got in fetcher.fetch([f"{url}?{n}"])]
        assert names.asked["rebinding.test"] == 1
    assert reasons == [None] * 10


@pytest.mark.parametrize(
    "address",
    [
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
    ],
)
def test_ipv6_answers_meet_the_same_guard(address: str):
    with BadServer() as server, NameServer({"six.test": [address, "10.0.0.1"]}) as names:
        got = one(f"http://six.test:{server.port}/good", names)
        opened = address == "::ffff:127.0.0.1"  # the kernel connects to 127.0.0.1, which is open
        assert got.reason is BLOCKED or (opened and got.reason in (None, Reason.REFUSED))
        assert opened or server.asked == {}


def test_of_several_answers_only_the_public_ones_are_asked():
    with BadServer() as server, NameServer({"mixed.test": ["10.0.0.1", "::1", "127.0.0.1"]}) as names:
        assert one(f"http://mixed.test:{server.port}/good", names).reason is None


def test_there_are_enough_cases():
    assert len(LOCATIONS) >= 45
