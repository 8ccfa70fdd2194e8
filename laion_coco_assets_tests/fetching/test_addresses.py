"""No fetch connects to an address that is not of the public internet, unless its network is named."""

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_coco_assets.fetching.addresses import (
    BlockedAddressError,
    guarded_socket_factory,
    is_public,
    parse_networks,
)

PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2600:1f18::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "::ffff:8.8.8.8",
    "2a00:1450:4001::5efe:808:808",  # ISATAP's pattern around a public address
)
NOT_PUBLIC = (
    # IPv4: private, local, special
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    # IPv6: outside of 2000::/3
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1",
    "100::1",
    "1fff:ffff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2606:4700:4700::1111%eth0",
    # inside of it, but special
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3ffe::1",
    "3fff::1",
    # IPv4 in disguise
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:c0a8:0101",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::10.0.0.1",
    "2a00:1450:4001::5efe:10.0.0.1",
    "2a00:1450:4001::200:5efe:127.0.0.1",
    # no addresses at all: what a resolver must never pass on
    "",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.1 ",
    "[::1]",
)


def test_the_corpus_is_large():
    assert len(PUBLIC) + len(NOT_PUBLIC) >= 60


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str):
    assert is_public(address)
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str):
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothing_is_judged_as_itself(address):
    assert is_public(f"::ffff:{address}") == is_public(address)
    if not is_public(address):
        for disguise in (f"64:ff9b::{address}", f"::{address}", f"2a00:1450::5efe:{address}"):
            assert not is_public(disguise)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_local(address):
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    ("address", "networks", "public"),
    [
        ("127.0.0.1", ("127.0.0.0/8",), True),
        ("::ffff:127.0.0.1", ("127.0.0.0/8",), True),
        ("10.0.0.1", ("127.0.0.0/8",), False),
        ("::1", ("127.0.0.0/8",), False),
        ("::1", ("::1/128",), True),
        ("10.1.2.3", ("10.1.0.0/16", "192.168.7.0/24"), True),
        ("10.2.2.3", ("10.1.0.0/16", "192.168.7.0/24"), False),
        ("fd00::5", ("fd00::/8",), True),
        ("64:ff9b::8.8.8.8", ("64:ff9b::/96",), True),
        ("64:ff9b::127.0.0.1", ("64:ff9b::/96",), False),
        ("64:ff9b::127.0.0.1", ("64:ff9b::/96", "127.0.0.0/8"), True),
        ("2002:7f00:1::", ("2002::/16",), False),
        ("8.8.8.8", ("127.0.0.0/8",), True),
        ("fe80::1%eth0", ("fe80::/10",), False),
    ],
)
def test_opened_for_named_networks_only(address: str, networks: tuple[str, ...], public: bool):
    assert is_public(address, parse_networks(networks)) is public


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/7", "2000::/3", "127.0.0.1/8", "loopback", ""]
)
def test_the_guard_is_never_opened_as_a_whole_by_accident(text: str):
    with pytest.raises(ValueError, match=r"too wide|does not appear to be|has host bits set"):
        parse_networks((text,))


def test_the_socket_factory_refuses_before_there_is_a_socket():
    create = guarded_socket_factory(parse_networks(("127.0.0.0/8",)))
    kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    create((socket.AF_INET, *kind, ("127.0.0.1", 80))).close()
    with pytest.raises(BlockedAddressError, match=r"10\.0\.0\.1 is not a public address"):
        create((socket.AF_INET, *kind, ("10.0.0.1", 80)))
    with pytest.raises(BlockedAddressError):
        create((socket.AF_INET6, *kind, ("::1", 80, 0, 0)))
