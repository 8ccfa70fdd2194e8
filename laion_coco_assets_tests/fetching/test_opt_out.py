"""A corpus of header lines and what each means for us; see `opt_out` for the standards."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from laion_coco_assets.fetching.opt_out import opt_out_signal

AGENT = "laion-coco-assets/0.1 (+https://example.org)"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ROBOTS, TDM, USAGE, SIGNAL = "X-Robots-Tag", "TDM-Reservation", "Content-Usage", "Content-Signal"

OPTED_OUT = [
    (ROBOTS, "noai"),
    (ROBOTS, "NOAI"),
    (ROBOTS, "noimageai"),
    (ROBOTS, "noml"),
    (ROBOTS, "noindex"),
    (ROBOTS, "noimageindex"),
    (ROBOTS, "none"),
    (ROBOTS, " noai "),
    (ROBOTS, '"noai"'),
    (ROBOTS, "noai, noimageai"),
    (ROBOTS, "all, noai"),
    (ROBOTS, "nofollow,noai"),
    (ROBOTS, "nofollow;noai"),
    (ROBOTS, "noarchive, , noimageai"),
    (ROBOTS, "max-image-preview:large, noai"),
    (ROBOTS, "max-snippet: -1, max-image-preview: none, noai"),
    (ROBOTS, "unavailable_after: 25 Jun 2030 15:00:00 PST, noai"),
    (ROBOTS, "unavailable_after: Wednesday, 03-Jul-30 15:00:00 GMT, noai"),
    (ROBOTS, "unavailable_after: Wed, 03 Jul 2030 15:00:00 GMT, noindex"),
    (ROBOTS, "unavailable_after: 2030-07-03T15:00:00Z, noai"),
    (ROBOTS, "noai, unavailable_after: 2030-07-03"),
    (ROBOTS, "*: noai"),
    (ROBOTS, "laion-coco-assets: noai"),
    (ROBOTS, "LAION-COCO-Assets: nofollow, NoIndex"),
    (ROBOTS, "laion-coco-assets/0.1: noai"),
    (ROBOTS, "noai, googlebot: noindex"),
    (ROBOTS, "googlebot: nofollow, laion-coco-assets: noai"),
    (ROBOTS, "googlebot: nofollow, *: none"),
    (ROBOTS, "laion-coco-assets: unavailable_after: 2030-07-03, noai"),
    (ROBOTS, "\tnoai\t"),
    (ROBOTS, "noindex, indexifembedded"),
    (ROBOTS, "noodp, noydir, NOIMAGEAI"),
    (ROBOTS, "'noai', 'noimageai'"),
    (ROBOTS, "googlebot: noarchive, laion-coco-assets/0.1: none"),
    (ROBOTS, "googlebot: index, * : noai"),
    # dates that have passed, in each format that Google documents
    (ROBOTS, "unavailable_after: 25 Jun 2010 15:00:00 PST"),
    (ROBOTS, "unavailable_after: 25-Aug-2007 15:00:00 EST"),
    (ROBOTS, "unavailable_after: Wed, 03 Jul 2013 15:00:00 GMT"),
    (ROBOTS, "unavailable_after: Wednesday, 03-Jul-13 15:00:00 GMT"),
    (ROBOTS, "Unavailable_After: 2013-07-03T15:00:00Z"),
    (ROBOTS, "unavailable_after:2013-07-03T15:00:00+02:00"),
    (ROBOTS, "unavailable_after: 2013-07-03"),
    (ROBOTS, "nofollow, unavailable_after: 2013-07-03, noarchive"),
    (ROBOTS, "nofollow, unavailable_after: Wed, 03 Jul 2013 15:00:00 GMT, noarchive"),
    (ROBOTS, "laion-coco-assets: unavailable_after: 2013-07-03"),
    (ROBOTS, "unavailable_after: 2030-07-03, unavailable_after: 2013-07-03"),
    (ROBOTS, "unavailable_after: nonsense, noai"),
    (ROBOTS, "noai noimageai"),
    (ROBOTS, "nofollow\t noai"),
    (ROBOTS, "say noai"),
    (ROBOTS, '"noai" "nofollow"'),
    (ROBOTS, "index follow noai, noarchive"),
    (ROBOTS, "googlebot: noindex, *: nofollow noai"),
    (ROBOTS, "laion-coco-assets: nofollow noai"),
    (ROBOTS, "nofollow laion-coco-assets: noai"),
    (ROBOTS, "noai googlebot: noindex"),
    (ROBOTS, "noai max-snippet: -1"),
    (ROBOTS, "nofollow unavailable_after: 2013-07-03"),
    (ROBOTS, "noai unavailable_after: 2030-07-03"),
    (TDM, "1"),
    (TDM, " 1 "),
    (TDM, "1; x"),
    (TDM, '"1"'),
    (TDM, "0, '1';policy=x"),
    (TDM, "0, 1"),
    (USAGE, "train-ai=n"),
    (USAGE, "Train-AI=N"),
    (USAGE, "train-ai = n"),
    (USAGE, "search=y, train-ai=n"),
    (USAGE, "train-ai=n;exceptions=none, search=y"),
    (USAGE, "train-genai=n, train-ai=y"),
    (USAGE, "genai=n"),
    (USAGE, "bots=n"),
    (USAGE, "tdm=n, search=y"),
    (SIGNAL, "ai-train=no"),
    (SIGNAL, "search=yes, AI-Train = No"),
]
NOT_OPTED_OUT = [
    (ROBOTS, ""),
    (ROBOTS, "all"),
    (ROBOTS, "nofollow"),
    (ROBOTS, "noarchive, nosnippet, notranslate"),
    (ROBOTS, "index, follow"),
    (ROBOTS, "max-image-preview: none"),
    (ROBOTS, "max-image-preview:none"),
    (ROBOTS, "unavailable_after: 25 Jun 2030 15:00:00 PST"),
    (ROBOTS, "unavailable_after: Wed, 03 Jul 2030 15:00:00 GMT, nofollow"),
    (ROBOTS, "unavailable_after: Wednesday, 03-Jul-30 15:00:00 GMT"),
    (ROBOTS, "unavailable_after: 2030-07-03T15:00:00Z"),
    (ROBOTS, "googlebot: unavailable_after: 2013-07-03"),
    (ROBOTS, "googlebot: unavailable_after: Wed, 03 Jul 2013 15:00:00 GMT"),
    (ROBOTS, "unavailable_after: nonsense"),
    (ROBOTS, "unavailable_after:"),
    (ROBOTS, "unavailable_after"),
    (ROBOTS, "max-video-preview: 0"),
    (ROBOTS, "indexifembedded"),
    (ROBOTS, "googlebot-image: noai, bingbot: noindex"),
    (ROBOTS, "laion-coco: noai"),
    (ROBOTS, "laion-coco-assets-images: noai"),
    (ROBOTS, "googlebot: noindex"),
    (ROBOTS, "googlebot: noindex, noai"),
    (ROBOTS, "GPTBot: noai, CCBot: noai"),
    (ROBOTS, "otherbot/2.1: none"),
    (ROBOTS, "noaim"),
    (ROBOTS, ":"),
    (ROBOTS, "index follow"),
    (ROBOTS, "noaim noailing"),
    (ROBOTS, "googlebot: noindex noai"),
    (ROBOTS, "nofollow googlebot: noai"),
    (ROBOTS, "max-image-preview: none noarchive"),
    (ROBOTS, "nofollow unavailable_after: 2030-07-03"),
    (ROBOTS, "unavailable_after nofollow"),
    (ROBOTS, "nofollow unavailable_after"),
    (TDM, "0"),
    (TDM, ""),
    (TDM, "11"),
    (TDM, "0; 1"),
    (TDM, '"0"'),
    (TDM, "true"),
    (USAGE, "train-ai=y"),
    (USAGE, "search=n"),
    (USAGE, "train-ai"),
    (USAGE, "train-ai=no"),
    (USAGE, "bots=n, train-ai=y"),
    (USAGE, "train-ai=n, train-ai=y"),
    (USAGE, "=n"),
    (SIGNAL, "ai-train=yes, search=no, ai-input=no"),
    (SIGNAL, "ai-train"),
    ("X-Robots", "noai"),
    ("TDM-Policy", "https://example.org/policy.json"),
    ("Content-Type", "noai"),
]


def signal(*lines: tuple[str, str], redirect: bool = False) -> str | None:
    return opt_out_signal(CIMultiDictProxy(CIMultiDict(lines)), AGENT, redirect=redirect, now=NOW)


@pytest.mark.parametrize("line", OPTED_OUT)
def test_opted_out(line: tuple[str, str]):
    opt_out = signal(line)
    assert opt_out is not None
    assert opt_out.startswith(line[0] + ": ")
    assert signal(("Content-Type", "image/jpeg"), (line[0].upper(), line[1])) is not None


@pytest.mark.parametrize("line", NOT_OPTED_OUT)
def test_not_opted_out(line: tuple[str, str]):
    assert signal(line) is None


@pytest.mark.parametrize("line", OPTED_OUT)
def test_any_of_repeated_headers_counts(line: tuple[str, str]):
    for other in NOT_OPTED_OUT:
        if not line[0] == USAGE == other[0]:  # those are one dictionary, where a later key may overrule; see below
            assert signal(other, line) is not None
            assert signal(line, other) is not None


def test_repeated_content_usage_is_one_dictionary():
    assert signal((USAGE, "search=n"), (USAGE, "train-ai=n")) == "Content-Usage: train-ai=n"
    assert signal((USAGE, "train-ai=n"), (USAGE, "train-ai=y")) is None  # RFC 9651: the last of equal keys holds


def test_detail_names_the_signal_and_its_scope():
    assert signal((ROBOTS, "nofollow, NoAI")) == "X-Robots-Tag: noai"
    assert signal((ROBOTS, "*: noindex")) == "X-Robots-Tag: *: noindex"
    assert signal((TDM, "1")) == "TDM-Reservation: 1"


@pytest.mark.parametrize("line", [*OPTED_OUT, *NOT_OPTED_OUT])
def test_a_redirects_indexing_directives_speak_of_the_link(line: tuple[str, str]):
    opt_out = signal(line, redirect=True)
    assert opt_out is None or not any(word in opt_out for word in ("noindex", "noimageindex", "none", "unavailable"))
    if "noai" in (signal(line) or "") or line[0] != ROBOTS:
        assert opt_out == signal(line)


@given(st.lists(st.tuples(st.sampled_from((ROBOTS, TDM, USAGE, SIGNAL)), st.text()), max_size=5))
def test_any_header_has_a_result(lines: list[tuple[str, str]]):
    opt_out = signal(*lines)
    assert opt_out is None or opt_out.partition(": ")[0] in (ROBOTS, TDM, USAGE, SIGNAL)


def test_a_date_counts_from_its_own_moment_on():
    line = CIMultiDictProxy(CIMultiDict({ROBOTS: "unavailable_after: 2026-11-01T12:00:00+02:00"}))
    before, at = datetime(2026, 11, 1, 9, 59, 59, tzinfo=UTC), datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert opt_out_signal(line, AGENT, now=before) is None
    assert opt_out_signal(line, AGENT, now=at) == "X-Robots-Tag: unavailable_after"
    assert opt_out_signal(line, AGENT) == "X-Robots-Tag: unavailable_after"  # the clock on the wall is past it
