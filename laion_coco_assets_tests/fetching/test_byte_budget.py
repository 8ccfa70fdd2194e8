"""Memory is bounded, no row waits for ever, and a body that has to wait for memory is requested only once."""

import asyncio

import pytest

from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.fetching.byte_budget import ByteBudget
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetcher
from laion_coco_assets_tests.dagster_server import wait_for
from laion_coco_assets_tests.fetching import servers
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, CLOSING, BadServer, Connection, good
from laion_coco_assets_tests.images import pictures


def small_deployment(server: BadServer, **changes) -> FetchDeployment:
    names = {f"host-{number}.test": f"127.0.0.1:{server.port}" for number in range(8)}
    return FetchDeployment(
        **{"allow_networks": ("127.0.0.0/8",), "hosts": names, "backoff_s": 0.001, "breaker_failures": 0}
        | {"decode_workers": 1}
        | changes
    )


def urls(path: str, count: int, hosts: int = 8) -> list[str]:
    return [f"http://host-{number % hosts}.test{path}?{number}" for number in range(count)]


def test_bytes_held_are_bounded_and_every_row_comes_through():
    with BadServer() as server:
        tight = small_deployment(server, byte_budget=3 * len(pictures.JPEG), look_ahead=64, requests_per_host=64)
        with Fetcher(pictures.settings(), tight) as fetcher:
            results = list(fetcher.fetch(urls("/good_chunked", 200)))
    assert [got.image for got in results] == [pictures.JPEG] * 200


def test_the_budget_never_stops_the_row_that_is_awaited():
    budget = ByteBudget(100)
    assert budget.try_reserve(0, 1_000)
    assert not budget.try_reserve(1, 1)
    assert budget._reserved == 1_000
    budget.release_through(0)
    assert budget.try_reserve(1, 500)
    assert budget._reserved == 500


def test_room_is_given_in_the_order_of_rows_and_twice_the_limit_is_never_passed():
    async def scenario() -> None:
        budget = ByteBudget(100)
        assert budget.try_reserve(0, 90)
        assert budget.try_reserve(1, 110)
        waiting = {row: asyncio.create_task(budget.reserve(row, size)) for row, size in ((5, 60), (3, 100), (4, 80))}
        await asyncio.sleep(0)
        waiting[4].cancel()
        budget.shrink(1, 100)  # 10 are free, and nobody needs so few
        await asyncio.sleep(0)
        assert not waiting[3].done()
        budget.shrink(1, 10)
        await asyncio.sleep(0)
        assert (waiting[3].done(), waiting[5].done(), budget._reserved) == (True, False, 200)
        budget.release_through(0)
        await waiting[5]
        assert budget._reserved == 10 + 100 + 60
        budget.release_through(5)
        assert budget._reserved == 0

    asyncio.run(scenario())


def test_nobody_but_the_head_starts_while_a_body_waits():
    async def scenario() -> None:
        budget = ByteBudget(100)
        with budget.waiting_body():
            assert [budget.may_start(row) for row in (0, 1)] == [True, False]
        await budget.wait_to_start(1)

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/good", "/good_chunked"])
def test_rows_that_do_not_fit_into_memory_are_asked_for_once(monkeypatch: pytest.MonkeyPatch, path: str):
    """All of 32 answers come at once, and six of them fit."""
    all_asked = asyncio.Event()
    usual = BEHAVIOURS[path]

    async def together(at: Connection) -> None:
        if at.server.asked.total() == 32:
            all_asked.set()
        await all_asked.wait()
        await usual(at)

    monkeypatch.setitem(BEHAVIOURS, path, together)
    with BadServer() as server:
        tight = small_deployment(server, concurrency=32, look_ahead=32, byte_budget=3 * len(pictures.JPEG))
        with Fetcher(pictures.settings(), tight) as fetcher:
            results = list(fetcher.fetch(urls(path, 100)))
        assert [got.image for got in results] == [pictures.JPEG] * 100
        assert set(server.asked.values()) == {1}
        assert len(server.asked) == 100


@pytest.mark.parametrize("turns_back", ["redirect", "fails"])
def test_a_head_that_needs_a_slot_anew_gets_it_while_all_others_wait_for_memory(
    monkeypatch: pytest.MonkeyPatch, turns_back: str
):
    """Nothing fits but the head, which has lost its slot to a later row by the time the reader waits for it."""
    second_asked = asyncio.Event()

    async def first(at: Connection) -> None:
        await second_asked.wait()
        if at.before:
            await good(at)
        elif turns_back == "fails":
            await at.answer("502 Bad Gateway")
        else:
            await at.answer("302 Found", b"", "Location: /good?first")

    async def other(at: Connection) -> None:
        second_asked.set()
        await good(at)

    monkeypatch.setitem(BEHAVIOURS, "/first", first)
    monkeypatch.setitem(BEHAVIOURS, "/other", other)
    with BadServer() as server:
        given = [*urls("/first", 1), *urls("/other", 39, hosts=1), *urls("/redirect", 20, hosts=1)]
        with Fetcher(pictures.settings(), small_deployment(server, concurrency=2, byte_budget=1)) as fetcher:
            results = list(fetcher.fetch(given))
        assert [got.reason for got in results] == [None] * 60
        assert {path: asked for path, asked in server.asked.items() if asked > 1} == (
            {"/first?0": 2, "/good": 20} if turns_back == "fails" else {"/good": 20}
        )
        assert server.most_at_once <= 3  # the slots, and the head's


def test_a_server_that_loses_patience_while_its_body_waits_costs_the_row_no_try(monkeypatch: pytest.MonkeyPatch):
    has_left = asyncio.Event()

    async def first(at: Connection) -> None:
        await has_left.wait()
        await good(at)

    async def impatient(at: Connection) -> None:
        if at.before:
            await good(at)
        else:
            await at.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(pictures.JPEG) + pictures.JPEG[:100])
            has_left.set()

    monkeypatch.setitem(BEHAVIOURS, "/first", first)
    monkeypatch.setitem(BEHAVIOURS, "/impatient", impatient)
    monkeypatch.setattr(servers, "CLOSING", CLOSING | {"/impatient"})
    with BadServer() as server:
        given = ["http://host-0.test/first", "http://host-1.test/impatient"]
        with Fetcher(pictures.settings(retries=0), small_deployment(server, byte_budget=1)) as fetcher:
            assert [got.reason for got in fetcher.fetch(given)] == [None, None]
        assert server.asked["/impatient"] == 2


def test_leaving_while_bodies_wait_for_memory_leaves_nothing_over():
    with BadServer() as server, Fetcher(pictures.settings(), small_deployment(server, byte_budget=1)) as fetcher:
        given = ["http://host-0.test/gone", "http://host-1.test/silent", *urls("/good", 20)]
        results = fetcher.fetch(given)
        assert next(results).reason is Reason.HTTP_4XX
        wait_for("the rows to be asked for", lambda: len(server.asked) == 22 or None)
        results.close()
        assert [got.reason for got in fetcher.fetch(urls("/good", 20))] == [None] * 20
