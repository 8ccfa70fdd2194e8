"""The stream: order, bounds, limits per host, and that nothing is left over however it ends."""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from laion_coco_assets.contract.reasons import DESCRIPTIONS, TRANSIENT, Reason
from laion_coco_assets.fetching.duplicates import SeenUrls
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetched, Fetcher
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, BadServer, Connection
from laion_coco_assets_tests.images import pictures


def loopback(**changes) -> FetchDeployment:
    return FetchDeployment(
        **{"allow_networks": ("127.0.0.0/8",), "backoff_s": 0.001, "breaker_failures": 0, "decode_workers": 1} | changes
    )


def fetchers_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "laion-coco-fetcher"]


def open_sockets() -> int:
    sockets = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            sockets += str(descriptor.readlink()).startswith("socket:")
    return sockets


def test_every_reason_is_described():
    assert set(DESCRIPTIONS) == set(Reason)
    assert all(DESCRIPTIONS.values())


def test_transient_is_what_the_same_request_may_get_another_day():
    assert {reason.value for reason in TRANSIENT} == {
        "dns",
        "refused",
        "timeout",
        "rate_limited",
        "http_5xx",
        "truncated",
    }


def test_a_good_row_is_whole():
    with BadServer() as server, Fetcher(pictures.settings(), loopback()) as fetcher:
        (got,) = fetcher.fetch([server.url("/good")])
    assert got == Fetched(
        reason=None,
        http_status=200,
        final_url=server.url("/good"),
        sha256=hashlib.sha256(pictures.JPEG).hexdigest(),
        format="JPEG",
        image_width=64,
        image_height=48,
        image=pictures.JPEG,
    )


def test_results_come_in_the_order_of_the_urls():
    paths = ["/broken_once", "/good", "/not_found", "/redirect_twice", "/truncated_once", "/html_as_jpeg"] * 30
    wanted = [None, None, Reason.HTTP_4XX, None, None, Reason.NOT_AN_IMAGE] * 30
    with BadServer() as server, Fetcher(pictures.settings(), loopback(look_ahead=40)) as fetcher:
        urls = [server.url(f"{path}?{number}") for number, path in enumerate(paths)]
        results = list(fetcher.fetch(urls))
    assert [got.reason for got in results] == wanted
    assert [got.final_url for got in results[1::6]] == urls[1::6]


def test_urls_are_read_a_bounded_way_ahead():
    read = 0

    def urls(server: BadServer) -> Iterator[str]:
        nonlocal read
        for number in range(200):
            read = number + 1
            yield server.url(f"/good?{number}")

    with BadServer() as server, Fetcher(pictures.settings(), loopback(look_ahead=10)) as fetcher:
        for got, _ in enumerate(fetcher.fetch(urls(server)), start=1):
            assert read <= got + 10
    assert read == 200


def test_no_urls_no_results():
    with Fetcher(pictures.settings(), loopback()) as fetcher:
        assert list(fetcher.fetch([])) == []


def test_requests_to_one_host_are_limited():
    with BadServer() as server, Fetcher(pictures.settings(), loopback(requests_per_host=3)) as fetcher:
        assert all(got.reason is None for got in fetcher.fetch(server.url(f"/good?{n}") for n in range(60)))
    assert 1 <= server.most_at_once <= 3


def test_a_slow_host_holds_back_no_other_within_the_window(monkeypatch: pytest.MonkeyPatch):
    """Its rows come first, are more than there are slots, and end only when all of the other host's were asked for."""
    asked = Counter()
    all_quick = asyncio.Event()

    async def slow(at: Connection) -> None:
        await all_quick.wait()
        await at.answer("200 OK", pictures.JPEG)

    async def quick(at: Connection) -> None:
        asked["quick"] += 1
        if asked["quick"] == 40:
            all_quick.set()
        await at.answer("200 OK", pictures.JPEG)

    monkeypatch.setitem(BEHAVIOURS, "/slow", slow)
    monkeypatch.setitem(BEHAVIOURS, "/quick", quick)
    two = {"slow.test": "127.0.0.1", "quick.test": "127.0.0.1"}
    with (
        BadServer() as server,
        Fetcher(pictures.settings(), loopback(hosts=two, concurrency=6, requests_per_host=4)) as fetcher,
    ):
        urls = [f"http://slow.test:{server.port}/slow?{n}" for n in range(80)]
        urls += [f"http://quick.test:{server.port}/quick?{n}" for n in range(40)]
        results = list(fetcher.fetch(urls))
    assert [got.final_url for got in results] == urls
    assert all(got.reason is None for got in results)


def test_requests_to_one_host_keep_their_distance_and_other_hosts_do_not_wait():
    """A host's second row has its turn an hour after the first: the others' rows come, and it is not asked for."""
    three = {f"host{n}.test": "127.0.0.1" for n in range(3)}
    with BadServer() as server, Fetcher(pictures.settings(), loopback(hosts=three, host_spacing_s=3600)) as fetcher:
        urls = [f"http://host{n}.test:{server.port}/good?{n}" for n in (0, 1, 2)]
        stream = fetcher.fetch([*urls, f"http://host0.test:{server.port}/good?again"])
        assert [next(stream).reason for _ in urls] == [None] * 3
        stream.close()
        assert server.asked["/good?again"] == 0


def test_the_same_url_is_asked_for_once():
    with BadServer() as server, Fetcher(pictures.settings(), loopback()) as fetcher:
        good, other = server.url("/good"), server.url("/good?2")
        results = list(fetcher.fetch([good, other, good, f" {good}#part", None, None, "", "bad", "bad"]))
        assert [got.reason for got in results] == [
            None,
            None,
            Reason.DUPLICATE_URL,
            Reason.DUPLICATE_URL,
            *[Reason.INVALID_URL] * 4,
            Reason.DUPLICATE_URL,
        ]
        assert results[2].detail == "same URL as row 0"
        assert server.asked["/good"] == 1
        seen = SeenUrls()  # as a resumed run fills it
        assert [seen.add(url) for url in (good, other, good)] == [None, None, 0]
        (again,) = fetcher.fetch([other], seen)
        assert (again.reason, again.detail) == (Reason.DUPLICATE_URL, "same URL as row 1")
        (anew,) = fetcher.fetch([other])
        assert anew.reason is None


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sockets are counted in Linux's /proc")
@pytest.mark.parametrize("how", ["close", "exception", "interrupt", "exit"])
def test_nothing_is_left_over_however_it_ends(how: str):
    with BadServer() as server:
        before = open_sockets()
        urls = (
            server.url("/good" if n == 0 else f"/{('silent', 'stops_within_body')[n % 2]}?{n}") for n in range(10**9)
        )
        with Fetcher(
            pictures.settings(total_timeout_s=600.0), loopback(look_ahead=50, requests_per_host=50)
        ) as fetcher:
            stream = fetcher.fetch(urls)
            assert next(stream).reason is None
            if how == "close":
                stream.close()
            elif how != "exit":
                error = KeyboardInterrupt if how == "interrupt" else ValueError
                with pytest.raises(error):
                    stream.throw(error)
            if how != "exit":  # the fetcher itself goes on
                assert [got.reason for got in fetcher.fetch([server.url("/good")])] == [None]
        assert fetchers_threads() == []
        if how == "exit":
            with pytest.raises(RuntimeError, match="closed"):
                list(stream)
        # The server is in this process: its ends are closed a moment after it has seen its clients leave. A socket that
        # is never closed ends in pytest's timeout.
        while open_sockets() > before:
            pass


def test_an_error_of_the_url_source_reaches_the_caller():
    def urls(server: BadServer) -> Iterator[str]:
        yield server.url("/silent")
        raise OSError("the source broke")

    broken = pytest.raises(OSError, match="the source broke")
    with BadServer() as server, Fetcher(pictures.settings(), loopback()) as fetcher, broken:
        list(fetcher.fetch(urls(server)))
    assert fetchers_threads() == []


def test_outside_of_with_nothing_is_fetched():
    fetcher = Fetcher(pictures.settings(), loopback())
    with pytest.raises(RuntimeError, match="inside `with`"):
        fetcher.fetch(["http://example.org/"])


def test_a_fetcher_can_be_entered_again():
    fetcher = Fetcher(pictures.settings(), loopback())
    with BadServer() as server:
        for _ in range(2):
            with fetcher:
                assert [got.reason for got in fetcher.fetch([server.url("/good")])] == [None]


def test_one_failing_keep_alive_connection_harms_no_other_row():
    paths = [path for path in BEHAVIOURS if path.startswith(("/too_short", "/resets", "/two_lengths", "/no_http"))]
    with BadServer() as server, Fetcher(pictures.settings(retries=0), loopback(requests_per_host=2)) as fetcher:
        urls = [server.url(f"{'/good' if n % 2 else paths[n // 2 % len(paths)]}?{n}") for n in range(80)]
        results = list(fetcher.fetch(urls))
    assert all(got.reason is None for got in results[1::2])
    assert all(got.reason is not None for got in results[::2])


def test_the_documents_table_of_reasons_is_the_codes():
    text = (Path(__file__).parents[2] / "docs" / "FETCHING.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| `") and "ent | " in line]
    expected = [
        f"| `{reason}` | {'transient' if reason in TRANSIENT else 'permanent'} | {description} |"
        for reason, description in DESCRIPTIONS.items()
    ]
    assert [line for line in table if line.split(" | ")[1] in ("transient", "permanent")] == expected
