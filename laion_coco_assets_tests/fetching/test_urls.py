"""What is asked for is what a browser would ask for; everything else is refused by its text."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from laion_coco_assets.contract.reasons import Reason, RejectedError, Rejection
from laion_coco_assets.fetching.urls import check_url, resolve_redirect


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("http://example.org", "http://example.org/"),
        ("HTTP://Example.ORG/A", "http://example.org/A"),
        (" https://example.org/a\n", "https://example.org/a"),
        ("http://example.org/a\tb", "http://example.org/ab"),
        ("http://example.org:80/", "http://example.org/"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("http://example.org/a b?c d", "http://example.org/a%20b?c%20d"),
        ("http://example.org/a%2Fb%7Ec?x=%41&y=1+2", "http://example.org/a%2Fb%7Ec?x=%41&y=1+2"),
        ("http://example.org/é?ü", "http://example.org/%C3%A9?%C3%BC"),
        ("http://example.org/100%", "http://example.org/100%"),
        ("http://example.org/a#part", "http://example.org/a"),
        ("http://example.org/a/../b/./c", "http://example.org/b/c"),
        ("http://example.org//a", "http://example.org//a"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://0177.0.0.01/", "http://127.0.0.1/"),
        ("http://127.1/", "http://127.0.0.1/"),
        ("http://127.0.0.1./", "http://127.0.0.1/"),
        ("http://①②⑦.⓪.⓪.①/", "http://127.0.0.1/"),
        ("http://0/", "http://0.0.0.0/"),
        ("http://[::1]:81/", "http://[::1]:81/"),
        ("http://[0:0:0:0:0:ffff:7f00:1]/", "http://[::ffff:127.0.0.1]/"),
        ("http://under_score.example/", "http://under_score.example/"),
    ],
)
def test_asked_for(text: str, asked: str):
    assert str(check_url(text)).replace("::ffff:7f00:1", "::ffff:127.0.0.1") == asked


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, Reason.INVALID_URL),
        ("", Reason.INVALID_URL),
        (" \n", Reason.INVALID_URL),
        ("example.org/a.jpg", Reason.INVALID_URL),
        ("//example.org/a.jpg", Reason.INVALID_URL),
        ("/etc/passwd", Reason.INVALID_URL),
        ("http://", Reason.INVALID_URL),
        ("http:///a", Reason.INVALID_URL),
        ("http:a", Reason.INVALID_URL),
        ("http://[", Reason.INVALID_URL),
        ("http://[::1", Reason.INVALID_URL),
        ("http://[::g]/", Reason.INVALID_URL),
        ("http://[fe80::1%25eth0]/", Reason.INVALID_URL),
        ("http://exa mple.org/", Reason.INVALID_URL),
        ("http://a..b/", Reason.INVALID_URL),
        ("http://a%2eb/", Reason.INVALID_URL),
        ("http://" + "a" * 64 + ".org/", Reason.INVALID_URL),
        ("http://example.org:0/", Reason.INVALID_URL),
        ("http://example.org:65536/", Reason.INVALID_URL),
        ("http://example.org:http/", Reason.INVALID_URL),
        ("http://256.1.1.1/", Reason.INVALID_URL),
        ("http://1.2.3.4.5/", Reason.INVALID_URL),
        ("http://4294967296/", Reason.INVALID_URL),
        ("http://08.0.0.1/", Reason.INVALID_URL),
        ("http://example.org\\@127.0.0.1/", Reason.CREDENTIALS_IN_URL),
        ("http://example.org\\a/", Reason.INVALID_URL),
        ("http://example.org/" + "a" * 9000, Reason.INVALID_URL),
        ("http://\ud800.org/", Reason.INVALID_URL),
        ("http://me:secret@example.org/", Reason.CREDENTIALS_IN_URL),
        ("http://me@example.org/", Reason.CREDENTIALS_IN_URL),
        ("http://@example.org/", Reason.CREDENTIALS_IN_URL),
        ("file:///etc/hostname", Reason.SCHEME),
        ("FILE:/etc/hostname", Reason.SCHEME),
        ("ftp://example.org/a.jpg", Reason.SCHEME),
        ("data:image/png;base64," + "A" * 9000, Reason.SCHEME),
        ("javascript:alert(1)", Reason.SCHEME),
        ("ws://example.org/", Reason.SCHEME),
        ("gopher://example.org/", Reason.SCHEME),
        ("unix:///run/docker.sock", Reason.SCHEME),
    ],
)
def test_refused(text: str | None, reason: Reason):
    with pytest.raises(RejectedError) as refused:
        check_url(text)
    assert refused.value.rejection.reason is reason
    assert "secret" not in str(refused.value)


def attempt(function: Callable[..., URL], *arguments) -> URL | Rejection:
    try:
        return function(*arguments)
    except RejectedError as refused:
        return refused.rejection


@given(st.one_of(st.text(), st.text().map("http://".__add__), st.text().map("https://example.org/".__add__)))
def test_any_text_gives_a_url_or_a_reason(text: str):
    outcome = attempt(check_url, text)
    if isinstance(outcome, Rejection):
        assert outcome.reason in (Reason.INVALID_URL, Reason.SCHEME, Reason.CREDENTIALS_IN_URL)
    else:
        url = outcome
        assert url.scheme in ("http", "https")
        assert url.raw_host
        assert url.user is None
        assert str(url).isascii()
        assert check_url(str(url)) == url


@given(st.text())
def test_any_redirect_gives_a_url_or_a_reason(location: str):
    outcome = attempt(resolve_redirect, URL("https://example.org/a/b"), location)
    if isinstance(outcome, Rejection):
        assert outcome.detail.startswith("redirected to")
    else:
        assert outcome.scheme in ("http", "https")
