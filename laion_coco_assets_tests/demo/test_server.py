"""What the corpus server answers for each behaviour, as an ordinary HTTP client sees it."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO

import aiohttp
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError
from yarl import URL

from laion_coco_assets.demo.behaviours import Behaviour
from laion_coco_assets.demo.corpus import Corpus, DemoSample, build_corpus
from laion_coco_assets.demo.picture_bytes import HUGE_BYTES, encode_picture, picture_of
from laion_coco_assets.demo.picture_formats import FORMATS, Format
from laion_coco_assets.demo.sample_urls import HOST
from laion_coco_assets.demo.server import PRIVATE_TARGET, CorpusServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def _get(server: CorpusServer, url: str) -> Answer:
    # the name is not looked up: the request goes to the server's port with the corpus' host in its Host header
    parsed = URL(url)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        target = parsed.with_host("127.0.0.1").with_port(server.port)
        async with session.get(target, headers={"Host": HOST}, allow_redirects=False) as response:
            return Answer(response.status, dict(response.headers), await response.read())


def get(server: CorpusServer, sample: DemoSample) -> Answer:
    return asyncio.run(_get(server, sample.url))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return build_corpus(100, shards=1)


@pytest.fixture(scope="module")
def server(corpus: Corpus) -> Iterator[CorpusServer]:
    with CorpusServer(corpus) as running:
        yield running


def one(corpus: Corpus, behaviour: Behaviour) -> DemoSample:
    return next(sample for sample in corpus.samples if sample.behaviour == behaviour)


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("not_found", 404),
        ("gone", 410),
        ("forbidden", 403),
        ("rate_limited", 429),
        ("server_error", 500),
        ("unavailable", 503),
    ],
)
def test_failures_have_their_status(corpus: Corpus, server: CorpusServer, behaviour: Behaviour, status: int) -> None:
    assert get(server, one(corpus, behaviour)).status == status


def test_an_image_is_the_same_bytes_every_time_and_from_every_server(corpus: Corpus, server: CorpusServer) -> None:
    sample = one(corpus, "ok")
    body = get(server, sample).body
    assert body == get(server, sample).body == encode_picture(sample)
    with CorpusServer(build_corpus(100, shards=1)) as other:
        assert other.port != server.port
        assert get(other, sample).body == body


@pytest.mark.parametrize("picture_format", list(FORMATS))
def test_every_format_shows_the_scene(corpus: Corpus, picture_format: Format) -> None:
    sample = replace(one(corpus, "ok"), format=picture_format, width=180, height=120)
    image = Image.open(BytesIO(encode_picture(sample)))
    upright = ImageOps.exif_transpose(image)
    assert upright.size == (180, 120)
    shown = upright.convert("L")
    drawn = picture_of(sample).convert("L")
    differences = [abs(a - b) for a, b in zip(shown.tobytes(), drawn.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 12
    modes = {"jpeg_grey": "L", "jpeg_cmyk": "CMYK", "png_palette": "P", "png_alpha": "RGBA"}
    assert image.mode == modes.get(picture_format, image.mode)


def test_pngs_under_a_jpg_name_occur() -> None:
    samples = build_corpus(300).samples
    assert any(s.url.endswith(".jpg") and s.format.startswith("png") for s in samples if s.behaviour == "ok")


def test_a_redirect_leads_to_the_image(corpus: Corpus, server: CorpusServer) -> None:
    sample = one(corpus, "redirect")
    answer = get(server, sample)
    assert answer.status == 301
    moved = asyncio.run(_get(server, str(URL(sample.url).join(URL(answer.headers["Location"])))))
    assert (moved.status, moved.body) == (200, encode_picture(sample))


def test_a_redirect_loop_leads_to_itself(corpus: Corpus, server: CorpusServer) -> None:
    sample = one(corpus, "redirect_loop")
    answer = get(server, sample)
    assert answer.status == 302
    assert URL(sample.url).join(URL(answer.headers["Location"])) == URL(sample.url)


def test_a_redirect_may_lead_into_the_private_network(corpus: Corpus, server: CorpusServer) -> None:
    assert get(server, one(corpus, "redirect_private")).headers["Location"] == PRIVATE_TARGET


def test_a_truncated_body_ends_before_its_content_length(corpus: Corpus, server: CorpusServer) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        get(server, one(corpus, "truncated_body"))


def test_a_truncated_image_is_sent_whole_but_does_not_decode(corpus: Corpus, server: CorpusServer) -> None:
    answer = get(server, one(corpus, "truncated_image"))
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    with pytest.raises(OSError, match="truncated"):
        Image.open(BytesIO(answer.body)).load()


@pytest.mark.parametrize(("behaviour", "kind"), [("html_as_jpeg", "image/jpeg"), ("html_page", "text/html")])
def test_pages_in_place_of_images(corpus: Corpus, server: CorpusServer, behaviour: Behaviour, kind: str) -> None:
    answer = get(server, one(corpus, behaviour))
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.body.startswith(b"<!DOCTYPE html>")
    with pytest.raises(UnidentifiedImageError):
        Image.open(BytesIO(answer.body))


def test_formats_that_are_not_taken(corpus: Corpus, server: CorpusServer) -> None:
    svg, tiff = get(server, one(corpus, "svg")), get(server, one(corpus, "tiff"))
    assert (svg.headers["Content-Type"].split(";")[0], svg.body[:5]) == ("image/svg+xml", b"<?xml")
    assert (tiff.headers["Content-Type"], Image.open(BytesIO(tiff.body)).format) == ("image/tiff", "TIFF")


@pytest.mark.parametrize(("behaviour", "size"), [("tiny", (8, 8)), ("banner", (900, 24))])
def test_odd_sizes(corpus: Corpus, server: CorpusServer, behaviour: Behaviour, size: tuple[int, int]) -> None:
    image = Image.open(BytesIO(get(server, one(corpus, behaviour)).body))
    assert ImageOps.exif_transpose(image).size == size


def test_an_opt_out_is_a_header_on_a_sound_image(corpus: Corpus, server: CorpusServer) -> None:
    answer = get(server, one(corpus, "opt_out"))
    assert "noai" in answer.headers["X-Robots-Tag"]
    Image.open(BytesIO(answer.body)).load()


def test_the_bomb_is_small_and_claims_400_million_pixels(corpus: Corpus, server: CorpusServer) -> None:
    answer = get(server, one(corpus, "bomb"))
    assert len(answer.body) < 200_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(BytesIO(answer.body))


def test_the_huge_body_is_huge(corpus: Corpus, server: CorpusServer) -> None:
    assert len(get(server, one(corpus, "huge")).body) == HUGE_BYTES


@pytest.mark.parametrize("behaviour", ["malformed_url", "ftp", "credentials", "unknown_host"])
def test_urls_that_never_reach_the_server(corpus: Corpus, behaviour: Behaviour) -> None:
    assert not one(corpus, behaviour).url.startswith(f"http://{HOST}/")


def test_an_unknown_path_is_not_found(corpus: Corpus, server: CorpusServer) -> None:
    unknown = replace(one(corpus, "ok"), url=f"http://{HOST}/nothing/here.jpg")
    moved = replace(unknown, url=one(corpus, "ok").url.replace(HOST, f"{HOST}/moved"))
    assert (get(server, unknown).status, get(server, moved).status) == (404, 404)


def test_every_image_of_the_corpus_is_served(corpus: Corpus, server: CorpusServer) -> None:
    for sample in corpus.samples:
        if sample.behaviour == "ok":
            answer = get(server, sample)
            assert answer.status == 200
            assert ImageOps.exif_transpose(Image.open(BytesIO(answer.body))).size == (sample.width, sample.height)


def test_the_server_closes_while_requests_hang(corpus: Corpus) -> None:
    sample = one(corpus, "hang")
    with CorpusServer(corpus) as server:
        connection = socket.create_connection(("127.0.0.1", server.port))
        path = URL(sample.url).raw_path_qs
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
    rest = b""
    while received := connection.recv(65536):
        rest += received
    connection.close()
    assert b"Content-Length: 20000" in rest
    assert len(rest) < 20000
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
