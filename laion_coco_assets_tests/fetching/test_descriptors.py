"""A shortage on this machine is reported as such: no row, and no server, is blamed for it."""

import subprocess
import sys

import pytest

from laion_coco_assets_tests.fetching.names import NameServer
from laion_coco_assets_tests.fetching.servers import BadServer

_FETCHES = """
import resource, sys
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.fetcher import Fetcher
from laion_coco_assets_tests.images import pictures

base, hard = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
deployment = FetchDeployment(
    allow_networks=("127.0.0.0/8",), concurrency=300, requests_per_host=300, decode_workers=1, backoff_s=0.001, breaker_failures=3
)
reasons = set()
try:
    with Fetcher(pictures.settings(), deployment) as fetcher:
        assert [fetched.reason for fetched in fetcher.fetch([base])] == [None]  # so that the decoder runs
        for fetched in fetcher.fetch(f"{base}?{number}" for number in range(300)):
            reasons.add(str(fetched.reason))
except UserError as error:
    print(error)
print(sorted(reasons))
"""

_LOOKS_UP = """
import os, resource, sys
from contextlib import suppress
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.fetching.fetcher import Fetcher
from laion_coco_assets_tests.images import pictures

port, names = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
deployment = FetchDeployment(allow_networks=("127.0.0.0/8",), nameservers=(names,), decode_workers=1, backoff_s=0.001)
with Fetcher(pictures.settings(), deployment) as fetcher:
    assert [fetched.reason for fetched in fetcher.fetch([f"http://a.test:{port}/good"])] == [None]
    taken = []
    with suppress(OSError):
        while len(taken) < 64:
            taken.append(os.dup(0))
    try:
        print([str(fetched.reason) for fetched in fetcher.fetch([f"http://b.test:{port}/good"])])
    except UserError as error:
        print(error)
    for descriptor in taken:
        os.close(descriptor)
    print([str(fetched.reason) for fetched in fetcher.fetch([f"http://b.test:{port}/good"])])
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such limit")


def fetch(hard: int) -> list[str]:
    with BadServer() as server:
        command = [sys.executable, "-c", _FETCHES, server.url("/good"), str(hard)]
        fetched = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert fetched.returncode == 0, fetched.stderr
    return fetched.stdout.splitlines()


def test_the_soft_limit_of_open_files_is_raised() -> None:
    assert fetch(hard=1024) == ["['None']"]


def test_want_of_descriptors_ends_the_fetch_and_rejects_no_row() -> None:
    message, reasons = fetch(hard=64)
    assert "too few sockets" in message
    assert "ulimit -n" in message
    assert "--fetch-concurrency" in message
    assert reasons in ("['None']", "[]")


def test_a_look_up_that_gets_no_descriptor_is_not_blamed_on_dns() -> None:
    with BadServer() as server, NameServer({"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]}) as names:
        command = [sys.executable, "-c", _LOOKS_UP, str(server.port), names.address]
        fetched = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
    assert fetched.returncode == 0, fetched.stderr
    message, later = fetched.stdout.splitlines()
    assert "too few sockets" in message
    assert later == "['None']"
