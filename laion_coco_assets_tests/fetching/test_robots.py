"""robots.txt: what hosts say of our product token is heeded, whatever they say it with (RFC 9309)."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protego import Protego
from yarl import URL

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.reasons import Reason, RejectedError
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetched, Fetcher
from laion_coco_assets.fetching.robots import MAX_ROBOTS_BYTES, Robots, RobotsAnswer, own_groups
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, BadServer, Connection
from laion_coco_assets_tests.images import pictures

#: What each host serves as /robots.txt: a body with 200, or a status line.
FILES: dict[str, str | bytes] = {
    "open.test": "User-agent: *\nDisallow:\n",
    "closed.test": "User-agent: *\nDisallow: /\n",
    "empty.test": "",
    "ours.test": "User-agent: *\nDisallow: /\n\nUser-agent: laion-coco-tests\nAllow: /\n",
    "not-ours.test": "User-agent: *\nAllow: /\n\nUser-agent: LAION-COCO-Tests/2.0\nDisallow: /good\n",
    "others.test": "User-agent: GPTBot\nUser-agent: laion\nUser-agent: laion-coco-tests-image\nDisallow: /\n",
    "together.test": "User-agent: GPTBot\nUser-agent: laion-coco-tests\nDisallow: /\n",
    "query.test": "User-agent: *\nDisallow: /good?private\n",
    "longest.test": "User-agent: *\nDisallow: /\nAllow: /good$\n",
    "wildcard.test": "User-agent: *\nDisallow: /*private\n",
    "escaped.test": "User-agent: *\nDisallow: /%67ood?%70rivate\n",
    "bom.test": "\ufeffUser-agent: *\r\nDisallow: /\r\n",
    "binary.test": b"\xff\xfe\0User-agent: *\nDisallow: /\n",
    "page.test": "<!DOCTYPE html><html>Disallow: /</html>",
    "crawl-delay.test": "User-agent: *\nCrawl-delay: 10\n",
    "huge.test": "User-agent: *\n" + "# nothing\n" * 100_000 + "Disallow: /\n",
    "none.test": "404 Not Found",
    "gone.test": "410 Gone",
    "secret.test": "403 Forbidden",
    "failing.test": "503 Service Unavailable",
    "busy.test": "429 Too Many Requests",
}
#: What becomes of http://<host>/good and of http://<host>/good?private.
EXPECTED: dict[str, tuple[Reason | None, Reason | None]] = {
    "open.test": (None, None),
    "closed.test": (Reason.ROBOTS, Reason.ROBOTS),
    "empty.test": (None, None),
    "ours.test": (None, None),
    "not-ours.test": (Reason.ROBOTS, Reason.ROBOTS),
    "others.test": (None, None),
    "together.test": (Reason.ROBOTS, Reason.ROBOTS),
    "query.test": (None, Reason.ROBOTS),
    "longest.test": (None, Reason.ROBOTS),
    "wildcard.test": (None, Reason.ROBOTS),
    "escaped.test": (None, Reason.ROBOTS),
    "bom.test": (Reason.ROBOTS, Reason.ROBOTS),
    "binary.test": (None, None),  # its first line is no User-agent line, so its rules are nobody's
    "page.test": (None, None),
    "crawl-delay.test": (None, None),
    "huge.test": (None, None),  # its rule stands behind what has to be read
    "none.test": (None, None),
    "gone.test": (None, None),
    "secret.test": (None, None),
    "failing.test": (Reason.ROBOTS, Reason.ROBOTS),
    "busy.test": (Reason.ROBOTS, Reason.ROBOTS),
}


async def robots_txt(at: Connection) -> None:
    fields = (line.partition(b":") for line in at.head.split(b"\r\n"))
    host = next(value.strip().decode() for name, _, value in fields if name.lower() == b"host").partition(":")[0]
    at.server.asked[f"robots.txt of {host}"] += 1
    file = FILES[host]
    if isinstance(file, str) and file[:3].isdecimal():
        await at.answer(file)
    else:
        await at.answer("200 OK", file if isinstance(file, bytes) else file.encode(), "X-Robots-Tag: noai")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    monkeypatch.setitem(BEHAVIOURS, "/robots.txt", robots_txt)
    with BadServer() as running:
        yield running


def fetch(server: BadServer, *urls: str, robots: bool = True, **deployment) -> list[Fetched]:
    hosts = dict.fromkeys(FILES, f"127.0.0.1:{server.port}")
    deployment = FetchDeployment(
        allow_networks=("127.0.0.0/8",),
        backoff_s=0.001,
        breaker_failures=0,
        decode_workers=1,
        hosts=hosts,
        **deployment,
    )
    with Fetcher(pictures.settings(robots=robots), deployment) as fetcher:
        return list(fetcher.fetch(urls))


def test_what_hosts_say_is_heeded(server: BadServer):
    urls = [f"http://{host}/good{query}" for host in FILES for query in ("", "?private")]
    results = iter(
        fetch(server, *urls, requests_per_host=1)
    )  # one slot a host: the file needs it before the picture does
    assert {host: (next(results).reason, next(results).reason) for host in FILES} == EXPECTED
    assert {server.asked[f"robots.txt of {host}"] for host in FILES} == {1}


def test_a_row_that_is_shut_out_says_whose_rules_did_it_and_got_no_answer(server: BadServer):
    closed, failing = fetch(server, "http://closed.test/good", "http://failing.test/good")
    assert closed == Fetched(Reason.ROBOTS, "robots.txt of http://closed.test closes this path to laion-coco-tests")
    assert failing.detail == ("robots.txt of http://failing.test could not be had (HTTP 503), so everything is closed")
    assert server.asked["/good"] == 0


def test_unless_the_profile_asks_for_it_no_robots_txt_is_fetched(server: BadServer):
    (got,) = fetch(server, "http://closed.test/good", robots=False)
    assert got.reason is None
    assert server.asked["/robots.txt"] == 0


def test_where_a_redirect_leads_has_rules_of_its_own(server: BadServer):
    redirect = "/redirect_to?http%3A%2F%2F"
    to_closed, to_open, from_closed = fetch(
        server,
        f"http://open.test{redirect}closed.test%2Fgood",
        f"http://open.test{redirect}ours.test%2Fgood",
        f"http://closed.test{redirect}open.test%2Fgood",
    )
    assert (to_closed.reason, to_closed.http_status) == (Reason.ROBOTS, 302)
    assert to_open.reason is None
    assert (from_closed.reason, from_closed.http_status) == (Reason.ROBOTS, None)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("/closes_at_once", Reason.REFUSED),
        ("/no_http", Reason.PROTOCOL),
        ("/too_short", Reason.TRUNCATED),
        ("/redirect_to_private", Reason.BLOCKED_ADDRESS),
        ("/redirect_loop", None),  # as good as none
        ("/redirect_without_location", None),
        ("/chunked_for_ever", None),  # what is beyond the limit is not read
        ("/broken_once", None),
    ],
)
def test_rules_that_can_not_be_had(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, behaviour: str, reason: Reason | None
):
    async def answer(at: Connection) -> None:
        await BEHAVIOURS[behaviour](at)
        if behaviour in ("/closes_at_once", "/no_http", "/too_short"):
            at.reset()

    monkeypatch.setitem(BEHAVIOURS, "/robots.txt", answer)
    urls = [f"http://open.test/good?{number}" for number in range(10)]
    first, second, *others = fetch(server, *urls)
    assert {got.reason for got in others} == {first.reason}
    if behaviour == "/broken_once":
        assert {first.reason, second.reason} == {Reason.ROBOTS}  # 502: closed for a while
    else:
        assert (first.reason, second.reason) == (reason, reason)
    if reason is not None:
        assert (first.detail or "").startswith("robots.txt did not come: ")
        assert server.asked["/good?1"] == server.asked["/good?2"] == 0
    # One more try for what is transient, and aiohttp's own one after a lost connection: never one a row.
    assert server.asked["/robots.txt"] <= 4


def asker(answers: dict[str, RobotsAnswer], asked: list[str]):
    async def ask(url: URL) -> RobotsAnswer:
        asked.append(str(url))
        return answers[url.host or ""]

    return ask


def test_answers_are_kept_for_a_day_failures_for_a_minute_and_each_origin_is_its_own():
    now, asked = [0.0], []
    answers = {"a.test": RobotsAnswer(200, b"User-agent: *\nDisallow: /x"), "b.test": RobotsAnswer(500, b"")}
    robots = Robots("laion-coco-tests", asker(answers, asked), clock=lambda: now[0])

    async def allowed(url: str) -> bool:
        try:
            await robots.check(URL(url))
        except RejectedError:
            return False
        return True

    async def scenario() -> None:
        assert await allowed("http://a.test/y")
        assert not await allowed("http://a.test/x")
        assert await allowed("http://a.test:8080/y")
        assert not await allowed("http://b.test/y")
        now[0] = 59.0
        assert not await allowed("http://b.test/y")
        assert asked == [f"http://{host}/robots.txt" for host in ("a.test", "a.test:8080", "b.test")]
        now[0], answers["b.test"] = 61.0, RobotsAnswer(404, b"")
        assert await allowed("http://b.test/y")
        now[0], answers["a.test"] = 86_401.0, RobotsAnswer(404, b"")
        assert await allowed("http://a.test/x")
        assert asked[3:] == ["http://b.test/robots.txt", "http://a.test/robots.txt"]

    asyncio.run(scenario())


def test_the_cache_is_bounded_and_forgets_what_was_not_asked_about_for_longest():
    asked: list[str] = []

    async def ask(url: URL) -> RobotsAnswer:
        asked.append(url.host or "")
        return RobotsAnswer(200, b"#" * MAX_ROBOTS_BYTES)

    robots = Robots("laion-coco-tests", ask)

    async def scenario() -> None:
        for number in range(40):  # 20 MB
            await robots.check(URL(f"http://host{number}.test/"))
            await robots.check(URL("http://host0.test/"))
        assert asked == [f"host{number}.test" for number in range(40)]
        await robots.check(URL("http://host39.test/"))
        await robots.check(URL("http://host1.test/"))
        assert asked[40:] == ["host1.test"]
        assert robots._size <= 16 << 20
        assert len(robots._fetching) == 0

    asyncio.run(scenario())


def test_when_the_row_that_asks_is_cancelled_the_next_one_asks():
    asked: list[str] = []

    async def ask(url: URL) -> RobotsAnswer:
        asked.append(str(url))
        if len(asked) == 1:
            await asyncio.Event().wait()
        return RobotsAnswer(404, b"")

    async def scenario() -> None:
        robots = Robots("laion-coco-tests", ask)
        first = asyncio.create_task(robots.check(URL("http://a.test/")))
        second = asyncio.create_task(robots.check(URL("http://a.test/")))
        while not asked:  # noqa: ASYNC110 - turns of the loop, no waiting
            await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        assert asked == ["http://a.test/robots.txt"] * 2

    asyncio.run(scenario())


def test_a_hostile_file_has_two_agents_at_most():
    agents = "".join(f"User-agent: bot{number}\n" for number in range(15_000))
    rules = "".join(f"Disallow: /{number}\n" for number in range(15_000))
    text = own_groups(agents + rules + "User-agent: laion-coco-tests\nDisallow: /ours", "laion-coco-tests")
    parsed = Protego.parse(text)
    assert len(parsed._user_agents) == 2
    assert not parsed.can_fetch("http://a.test/ours", "laion-coco-tests")
    assert parsed.can_fetch("http://a.test/1", "laion-coco-tests")


@given(st.text(), st.text(alphabet="/*$%abc?=", max_size=40))
def test_any_file_gives_a_result(text: str, path: str):
    parsed = Protego.parse(own_groups(f"{text}\nUser-agent: *\nDisallow: {path}", "laion-coco-tests"))
    assert parsed.can_fetch("http://a.test/", "laion-coco-tests") in (True, False)


def test_the_setting_is_part_of_the_fetchs_fingerprint():
    profile = load_profile("laion-coco")
    assert profile.fetch.robots is False
    polite = profile.model_copy(update={"fetch": profile.fetch.model_copy(update={"robots": True})})
    assert fingerprints(polite)[StageName.FETCHED_IMAGES] != fingerprints(profile)[StageName.FETCHED_IMAGES]
