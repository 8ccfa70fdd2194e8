"""Circuit breakers: a host that keeps failing, or asks for a long pause, gets no requests for a while."""

from laion_coco_assets.contract.reasons import Reason, Rejection
from laion_coco_assets.fetching.breaker import CircuitBreakers
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetcher
from laion_coco_assets_tests.fetching.servers import BadServer
from laion_coco_assets_tests.images import pictures


def loopback(**changes) -> FetchDeployment:
    return FetchDeployment(allow_networks=("127.0.0.0/8",), backoff_s=0.001, decode_workers=1, **changes)


def test_a_long_retry_after_opens_the_breaker_at_once():
    """One row is enough, for 429 and 503 alike; other hosts are not affected."""
    three = {f"host{n}.test": "127.0.0.1" for n in range(3)}
    with (
        BadServer() as server,
        Fetcher(pictures.settings(), loopback(hosts=three, breaker_failures=20, requests_per_host=1)) as fetcher,
    ):
        first, then = (f"http://host{n}.test:{server.port}" for n in (0, 1))
        long = list(fetcher.fetch([f"{first}/slow_down_for_a_day", *(f"{first}/good?{n}" for n in range(5))]))
        down = list(fetcher.fetch([f"{then}/unavailable_for_a_day", f"{then}/good?then"]))
        (other,) = fetcher.fetch([f"http://host2.test:{server.port}/good?other"])
    assert [got.reason for got in long] == [Reason.RATE_LIMITED] * 6
    assert [got.http_status for got in long] == [429] + [None] * 5
    assert {got.detail for got in long[1:]} == {"not requested: the host asked for no requests for 86400 s (HTTP 429)"}
    assert [got.reason for got in down] == [Reason.HTTP_5XX] * 2
    assert other.reason is None
    assert set(server.asked) == {"/slow_down_for_a_day", "/unavailable_for_a_day", "/good?other"}


def test_a_host_that_only_ever_throttles_opens_its_breaker():
    settings, two = pictures.settings(retries=2), loopback(breaker_failures=5, requests_per_host=1)
    with BadServer() as server, Fetcher(settings, two) as fetcher:
        results = list(fetcher.fetch(server.url(f"/slow_down?{n}") for n in range(50)))
        assert {got.reason for got in results} == {Reason.RATE_LIMITED}
        assert server.asked.total() == 5


def test_a_breaker_opened_by_a_retry_after_outlasts_other_answers_and_closes():
    now, rejection = [0.0], Rejection(Reason.RATE_LIMITED, "HTTP 429")
    breakers = CircuitBreakers(2, 10.0, clock=lambda: now[0])
    breakers.open_for("a", 60.0, rejection)
    breakers.open_for("b", 10.0**9, rejection)
    breakers.record_answer("a")
    assert breakers.rejection("a") is not None
    assert breakers.rejection("c") is None
    now[0] = 60.0
    assert breakers.rejection("a") is None
    assert breakers.rejection("b") is not None
    now[0] = 86_400.0  # no breaker stays open for longer than a day
    assert breakers.rejection("b") is None


def test_a_host_that_never_answers_opens_its_breaker():
    with (
        BadServer() as server,
        Fetcher(pictures.settings(retries=0), loopback(breaker_failures=3, requests_per_host=1)) as fetcher,
    ):
        results = list(fetcher.fetch(server.url(f"/closes_at_once?{n}") for n in range(10)))
        good = list(fetcher.fetch([server.url("/good")]))
    assert {got.reason for got in [*results, *good]} == {Reason.REFUSED}
    assert sum((got.detail or "").startswith("not requested: 3 in a row") for got in [*results, *good]) == 8


def test_an_answer_closes_the_breaker_and_a_failure_opens_a_half_open_one():
    now, rejection = [0.0], Rejection(Reason.TIMEOUT, "slow")
    breakers = CircuitBreakers(2, 10.0, clock=lambda: now[0])
    breakers.record_failure("a", rejection)
    breakers.record_answer("a")
    breakers.record_failure("a", rejection)
    assert breakers.rejection("a") is None
    breakers.record_failure("a", rejection)
    assert breakers.rejection("a") is not None
    assert breakers.rejection("b") is None
    now[0] = 11.0
    assert breakers.rejection("a") is None  # half-open
    breakers.record_failure("a", rejection)
    assert breakers.rejection("a") is not None
