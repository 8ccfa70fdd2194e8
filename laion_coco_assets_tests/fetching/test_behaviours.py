"""Every odd behaviour of `servers` ends in its one reason, over real sockets."""

import pytest

from laion_coco_assets.contract.reasons import TRANSIENT, Reason
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetcher
from laion_coco_assets_tests.fetching.servers import BEHAVIOURS, BadServer
from laion_coco_assets_tests.images import pictures

LOOPBACK = FetchDeployment(allow_networks=("127.0.0.0/8",), backoff_s=0.001, breaker_failures=0, decode_workers=2)

EXPECTED: dict[str, Reason | None] = {
    "/good": None,
    "/good_http_1_0": None,
    "/good_without_length": None,
    "/good_chunked": None,
    "/good_but_called_text": None,
    "/good_after_early_hints": None,
    "/good_with_a_cookie": None,
    "/good_but_claims_gzip": None,
    "/extra_headers": None,
    "/really_gzip": Reason.NOT_AN_IMAGE,
    "/gzip_bomb": Reason.NOT_AN_IMAGE,
    "/html_as_jpeg": Reason.NOT_AN_IMAGE,
    "/json_error_with_200": Reason.NOT_AN_IMAGE,
    "/empty": Reason.NOT_AN_IMAGE,
    "/no_content": Reason.NOT_AN_IMAGE,
    "/part": Reason.TRUNCATED,
    "/svg": Reason.UNSUPPORTED_FORMAT,
    "/pixel": Reason.TOO_SMALL,
    "/banner": Reason.ASPECT_RATIO,
    "/bomb": Reason.BOMB,
    "/half_a_file": Reason.TRUNCATED,
    "/garbled": Reason.DECODE_ERROR,
    "/gone": Reason.HTTP_4XX,
    "/not_found": Reason.HTTP_4XX,
    "/forbidden": Reason.HTTP_4XX,
    "/unauthorized": Reason.HTTP_4XX,
    "/request_timeout": Reason.TIMEOUT,
    "/slow_down": Reason.RATE_LIMITED,
    "/slow_down_for_a_day": Reason.RATE_LIMITED,
    "/slow_down_till_a_date": Reason.RATE_LIMITED,
    "/broken": Reason.HTTP_5XX,
    "/unavailable": Reason.HTTP_5XX,
    "/unavailable_for_a_day": Reason.HTTP_5XX,
    "/broken_once": None,
    "/rate_limited_once": None,
    "/truncated_once": None,
    "/strange_status": Reason.PROTOCOL,
    "/not_modified": Reason.PROTOCOL,
    "/switching": Reason.PROTOCOL,
    "/redirect": None,
    "/redirect_relative": None,
    "/redirect_twice": None,
    "/redirect_loop": Reason.TOO_MANY_REDIRECTS,
    "/redirect_ever_longer": Reason.TOO_MANY_REDIRECTS,
    "/redirect_without_location": Reason.PROTOCOL,
    "/redirect_to_file": Reason.SCHEME,
    "/redirect_to_data": Reason.SCHEME,
    "/redirect_to_private": Reason.BLOCKED_ADDRESS,
    "/redirect_to_private_decimal": Reason.BLOCKED_ADDRESS,
    "/redirect_to_private_mapped": Reason.BLOCKED_ADDRESS,
    "/redirect_with_credentials": Reason.CREDENTIALS_IN_URL,
    "/redirect_to_nonsense": Reason.INVALID_URL,
    "/redirect_to?http%3A%2F%2F10.0.0.1": Reason.BLOCKED_ADDRESS,
    "/redirect_with_odd_bytes": None,
    "/opt_out": Reason.OPTED_OUT,
    "/opt_out_on_redirect": Reason.OPTED_OUT,
    "/noindex_on_redirect": None,
    "/promised_too_large": Reason.TOO_LARGE,
    "/chunked_for_ever": Reason.TOO_LARGE,
    "/endless_without_length": Reason.TOO_LARGE,
    "/too_short": Reason.TRUNCATED,
    "/chunks_break_off": Reason.TRUNCATED,
    "/chunks_make_no_sense": Reason.PROTOCOL,
    "/reset_within_body": Reason.TRUNCATED,
    "/two_lengths": Reason.PROTOCOL,
    "/negative_length": Reason.PROTOCOL,
    "/no_http": Reason.PROTOCOL,
    "/no_header_colon": Reason.PROTOCOL,
    "/huge_header": Reason.PROTOCOL,
    "/many_headers": Reason.PROTOCOL,
    "/endless_headers": Reason.PROTOCOL,
    "/webcam": Reason.TOO_LARGE,
    "/length_for_half": Reason.TRUNCATED,
    "/length_and_chunks": Reason.PROTOCOL,
    "/closes_behind_headers": Reason.TRUNCATED,
    "/good_without_reason_phrase": None,
    "/http_0_9": Reason.PROTOCOL,
    "/shoutcast": Reason.PROTOCOL,
    "/nul_in_a_header": Reason.PROTOCOL,
    "/brotli": Reason.NOT_AN_IMAGE,
    "/multiple_choices": Reason.PROTOCOL,
    "/redirect_too_long": Reason.PROTOCOL,
    "/legal_reasons": Reason.HTTP_4XX,
    "/cdn_lost_its_origin": Reason.HTTP_5XX,
    "/closes_at_once": Reason.REFUSED,
    "/resets_at_once": Reason.REFUSED,
}
#: Nonsense after a whole body: refused if it comes in one piece with the body, never seen otherwise.
EITHER = {"/good_with_more_than_promised": {None, Reason.PROTOCOL}}
#: Those that nothing but the deadline ends.
UNTIL_THE_DEADLINE = (
    "/silent",
    "/half_a_header",
    "/stops_within_body",
    "/endless_hints",
    "/headers_drip",
    "/body_drips",
    "/chunks_drip",
    "/chunk_of_absurd_size",
)


def test_every_behaviour_has_its_expected_reason():
    assert {path.partition("?")[0] for path in EXPECTED} | set(EITHER) | set(UNTIL_THE_DEADLINE) == set(BEHAVIOURS)
    assert len(BEHAVIOURS) >= 40


def test_all_behaviours_end_in_their_reason_within_one_run():
    with BadServer() as server, Fetcher(pictures.settings(), LOOPBACK) as fetcher:
        results = list(fetcher.fetch(server.url(path) for path in EXPECTED))
    assert {path: got.reason for path, got in zip(EXPECTED, results, strict=True)} == EXPECTED
    for got in results:
        if got.reason is None:
            assert got.image in (pictures.JPEG, pictures.PNG)
            assert (got.image_width, got.image_height) == (64, 48)
            assert got.detail is None
        else:
            assert got.image is None
            assert got.sha256 is None
            assert got.detail
            assert "hunter2" not in got.detail
            assert "b'" not in got.detail  # a server's bytes have no place in a table that people look at


def test_nonsense_after_a_body_harms_nothing():
    with BadServer() as server, Fetcher(pictures.settings(), LOOPBACK) as fetcher:
        paths = ("/good_with_more_than_promised", "/good?1", "/good_with_more_than_promised?2", "/good?2")
        first, good, second, also_good = fetcher.fetch(server.url(path) for path in paths)
    assert {first.reason, second.reason} <= EITHER["/good_with_more_than_promised"]
    assert good.image == also_good.image == pictures.JPEG


def test_what_never_ends_is_ended_by_the_deadline():
    with BadServer() as server, Fetcher(pictures.settings(total_timeout_s=0.5), LOOPBACK) as fetcher:
        results = list(fetcher.fetch(server.url(path) for path in UNTIL_THE_DEADLINE))
    assert [got.reason for got in results] == [Reason.TIMEOUT] * len(UNTIL_THE_DEADLINE)
    # A timeout is worth another try, and `retries` is 1.
    assert all(server.asked[path] <= 2 for path in UNTIL_THE_DEADLINE)


#: A shard in which every server misbehaves, most of them in the way that costs most.
HOSTILE = [*EXPECTED, *UNTIL_THE_DEADLINE, *(f"{path}?{n}" for n in range(5) for path in UNTIL_THE_DEADLINE)]
SLOWEST = pictures.settings(total_timeout_s=1.0, retries=1)
BOUNDED = LOOPBACK.model_copy(update={"requests_per_host": 16, "max_backoff_s": 0.1})


# Past the stated bound, and a minute for starting and decoding, pytest ends the test.
@pytest.mark.timeout(60 + BOUNDED.longest_s(SLOWEST, rows=len(HOSTILE), hosts=1))
def test_a_shard_of_nothing_but_hostile_servers_takes_a_bounded_time():
    with BadServer() as server, Fetcher(SLOWEST, BOUNDED) as fetcher:
        results = list(fetcher.fetch(server.url(path) for path in HOSTILE))
    for path, got in zip(HOSTILE, results, strict=True):
        # A second is short: on a loaded machine a good answer may take longer, and a second try be a server's first.
        if not (path.endswith("_once") and got.reason in TRANSIENT):
            assert got.reason in (EXPECTED.get(path, Reason.TIMEOUT), Reason.TIMEOUT), path


def test_the_bound_of_a_shard_is_its_deadlines():
    settings = pictures.settings(total_timeout_s=30.0, retries=2)
    deployment = FetchDeployment(concurrency=64, requests_per_host=8, max_backoff_s=20.0)
    # One row: three tries, with two waits between them, and a pause that each answer asks for.
    assert deployment.longest_s(settings, rows=1, hosts=1) == 3 * 30 + (2 + 3) * 20
    # 80 rows: on one host in ten waves of eight, on many in two of 64.
    assert deployment.longest_s(settings, rows=80, hosts=1) == 10 * 3 * 30 + (2 + 240) * 20
    assert deployment.longest_s(settings, rows=80, hosts=80) == 2 * 3 * 30 + (2 + 3) * 20
    # Half a second before each of the 40 rows' three tries with up to three redirects, on either of two hosts.
    spaced = deployment.model_copy(update={"host_spacing_s": 0.5})
    assert spaced.longest_s(settings, rows=80, hosts=2) == 5 * 3 * 30 + (2 + 120) * 20 + 40 * 3 * 4 * 0.5


def test_a_body_that_stops_being_http_ends_at_once():
    """Not at the deadline, wherever the network cuts between head and body: that differs from try to try."""
    with BadServer() as server, Fetcher(pictures.settings(retries=0), LOOPBACK) as fetcher:
        results = [fetched for n in range(20) for fetched in fetcher.fetch([server.url(f"/chunks_make_no_sense?{n}")])]
    assert {fetched.reason for fetched in results} == {Reason.PROTOCOL}


def test_a_rows_status_and_final_url_are_those_of_its_last_answer():
    with BadServer() as server, Fetcher(pictures.settings(), LOOPBACK) as fetcher:
        paths = ("/redirect_relative", "/gone", "/redirect_to_private", "/resets_at_once", "/half_a_file")
        moved, gone, private, reset, cut = fetcher.fetch(server.url(path) for path in paths)
    assert (moved.http_status, moved.final_url) == (200, server.url("/good?x=%2F&y=a%20b"))
    assert (gone.http_status, gone.final_url) == (410, server.url("/gone"))
    assert (private.http_status, private.final_url) == (302, server.url("/redirect_to_private"))
    assert (reset.http_status, reset.final_url) == (None, None)
    assert (cut.http_status, cut.final_url) == (200, server.url("/half_a_file"))


def test_transient_failures_are_tried_again_and_permanent_ones_are_not():
    with BadServer() as server, Fetcher(pictures.settings(retries=2), LOOPBACK) as fetcher:
        paths = ("/broken", "/too_short", "/broken_once", "/not_found", "/html_as_jpeg", "/half_a_file", "/opt_out")
        list(fetcher.fetch(server.url(path) for path in (*paths, "/slow_down", "/slow_down_for_a_day")))
    assert [server.asked[path] for path in paths] == [3, 3, 2, 1, 1, 1, 1]
    assert server.asked["/slow_down"] == 3
    assert server.asked["/slow_down_for_a_day"] == 1  # a Retry-After longer than we wait ends the tries


def test_opt_outs_can_be_passed_over_by_the_profile():
    with BadServer() as server, Fetcher(pictures.settings(respect_opt_out=False), LOOPBACK) as fetcher:
        results = fetcher.fetch([server.url("/opt_out"), server.url("/opt_out_on_redirect")])
        assert [got.reason for got in results] == [None, None]


def test_requests_say_who_we_are_and_ask_for_the_bytes_as_they_are():
    heads: list[bytes] = []

    async def listen(at) -> None:
        heads.append(at.head)
        await at.answer("200 OK", pictures.JPEG)

    with pytest.MonkeyPatch.context() as patch, BadServer() as server:
        patch.setitem(BEHAVIOURS, "/listen", listen)
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        patch.setenv("http_proxy", "http://127.0.0.1:1")
        with Fetcher(pictures.settings(), LOOPBACK) as fetcher:
            (got,) = fetcher.fetch([server.url("/listen?sig=a%2Fb%7E&q=(1,2)#part")])
    assert got.reason is None
    line, *fields = heads[0].decode().strip().split("\r\n")
    assert line == "GET /listen?sig=a%2Fb%7E&q=(1,2) HTTP/1.1"  # escapes as they came: URLs are signed
    headers = dict(field.lower().split(": ", 1) for field in fields)
    assert headers["user-agent"] == "laion-coco-tests/1 (+https://example.org/about)"
    assert headers["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & set(headers)
