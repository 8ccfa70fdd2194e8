"""Per-host limits: spacing, pauses and turns, on a clock of the test's own."""

import asyncio

from laion_coco_assets.fetching.hosts import HostLimits


def test_spacing_is_counted_from_start_to_start():
    now, starts = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def scenario() -> None:
        hosts = HostLimits(8, clock=lambda: now, spacing_s=2.5, sleep=sleep)
        shared = asyncio.Semaphore(64)

        async def request(host: str) -> None:
            async with hosts.host_slot(host), hosts.shared_slot(host, shared):
                starts.append((host, now))

        await asyncio.gather(*(request("a") for _ in range(3)))
        await request("b")
        await request("a")
        await sleep(1_000.0)
        await request("c")
        assert list(hosts._next_start) == ["c"]  # hosts that may be asked at once are forgotten

    asyncio.run(scenario())
    assert starts == [("a", 100.0), ("a", 102.5), ("a", 105.0), ("b", 105.0), ("a", 107.5), ("c", 1107.5)]


def test_a_pause_that_a_host_asks_for_holds_for_all_its_rows():
    now, starts = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    async def scenario() -> None:
        hosts = HostLimits(2, clock=lambda: now, sleep=sleep)
        shared = asyncio.Semaphore(64)

        async def request(host: str, pause_s: float = 0.0) -> None:
            async with hosts.host_slot(host), hosts.shared_slot(host, shared):
                starts.append((host, now))
                await asyncio.sleep(0)
                if pause_s:
                    hosts.pause(host, pause_s)

        await request("a", 30.0)
        hosts.pause("a", 5.0)  # a shorter one ends no longer one
        await request("b")
        await asyncio.gather(*(request("a") for _ in range(3)))
        assert not hosts._paused_until

    asyncio.run(scenario())
    assert starts == [("a", 100.0), ("b", 100.0), ("a", 130.0), ("a", 130.0), ("a", 130.0)]


def test_a_pause_asked_for_while_a_row_waits_for_a_shared_slot_holds_for_it():
    now, starts = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def scenario() -> None:
        hosts, shared = HostLimits(2, clock=lambda: now, sleep=sleep), asyncio.Semaphore(1)

        async def request() -> None:
            async with hosts.host_slot("a"), hosts.shared_slot("a", shared):
                starts.append(now)

        await shared.acquire()
        waiting = asyncio.create_task(request())
        await asyncio.sleep(0)
        hosts.pause("a", 7.0)
        shared.release()
        await waiting
        assert not shared.locked()

    asyncio.run(scenario())
    assert starts == [107.0]


def test_hosts_take_turns_however_many_rows_one_has():
    order = []

    async def scenario() -> None:
        hosts, shared = HostLimits(8), asyncio.Semaphore(1)

        async def request(host: str) -> None:
            async with hosts.host_slot(host), hosts.shared_slot(host, shared):
                order.append(host)
                await asyncio.sleep(0)

        await asyncio.gather(*(request(host) for host in "aaaaaabbb"))

    asyncio.run(scenario())
    assert "".join(order) == "aabababaa"  # its second row was in line before the other host's first
