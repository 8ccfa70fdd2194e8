"""A histogram's picture shows what it was given, is small, and can be drawn of anything."""

from collections import Counter
from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from laion_coco_assets.evaluation.histograms import Histogram, draw, merging, ticks

FILLED, LINE, INK = (108, 98, 239), (196, 98, 16), (117, 121, 127)
WHITE, DARK = (255, 255, 255), (15, 19, 28)


def painted(png: bytes, colour: tuple[int, int, int]) -> int:
    """Pixels of about that colour below the legend; a palette may shift it a little."""
    picture = Image.open(BytesIO(png)).convert("RGBA")
    pixels = picture.crop((0, 64, *picture.size)).get_flattened_data()
    return sum(max(abs(one - other) for one, other in zip(pixel[:3], colour, strict=True)) < 12 for pixel in pixels)


def test_a_panel_each_side_by_side() -> None:
    one = Histogram("words", 1, {"captions": {3: 5, 4: 10, 9: 1}})
    png = draw([one, one])
    assert Image.open(BytesIO(png)).size == (840, 240)
    assert painted(png, FILLED) > 2 * 5_000
    assert painted(png, LINE) == 0


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance, as https://www.w3.org/TR/WCAG22/#dfn-relative-luminance has it."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_it_is_readable_on_white_and_in_dark_mode() -> None:
    png = draw([Histogram("score", 0.01, {"all": {1: 100, 2: 100}, "alt text": {2: 1}})])
    pixels = Counter(Image.open(BytesIO(png)).convert("RGBA").get_flattened_data())
    (*_, alpha), count = pixels.most_common(1)[0]
    assert alpha == 0
    assert count > 420 * 240 / 2
    assert min(contrast(ink, ground) for ink in (FILLED, LINE, INK) for ground in (WHITE, DARK)) > 3.8


def test_two_series_are_scaled_to_their_own_numbers() -> None:
    few = draw([Histogram("score", 0.01, {"all": {1: 100, 2: 100}, "alt text": {2: 1}})])
    many = draw([Histogram("score", 0.01, {"all": {1: 100, 2: 100}, "alt text": {2: 100}})])
    assert painted(few, LINE) == painted(many, LINE) > 500


@pytest.mark.parametrize(
    "series",
    [
        {},
        {"none": {}},
        {"none": {}, "one": {-7: 1}},
        {"far apart": {-(10**6): 1, 10**6: 1}},
        {"many": {i: 1 + i % 7 for i in range(-100, 400)}, "others": dict.fromkeys(range(0, 900, 11), 3)},
    ],
)
def test_anything_can_be_drawn(series: dict[str, dict[int, int]]) -> None:
    png = draw([Histogram("a title that is longer than its panel is wide, by far " * 2, 0.01, series)])
    assert Image.open(BytesIO(png)).size == (420, 240)
    assert len(png) < 15_000


@given(st.integers(-1000, 1000), st.integers(0, 10**6))
def test_an_axis_has_one_to_nine_round_numbers(lowest: int, span: int) -> None:
    found = list(ticks(lowest, lowest + span))
    assert 1 <= len(found) <= 9
    assert lowest <= found[0] <= found[-1] <= lowest + span
    assert {f"{b - a}".rstrip("0") for a, b in pairwise(found)} <= {"1", "2", "5"}


COUNTS = st.dictionaries(st.integers(-500, 500), st.integers(1, 10**6), min_size=1)


@given(st.lists(COUNTS, min_size=1, max_size=2))
def test_bins_are_round_and_neither_one_nor_hundreds(series: list[dict[int, int]]) -> None:
    merged = merging(series)
    lowest, highest = (edge(bin_ for counts in series for bin_ in counts) for edge in (min, max))
    assert f"{merged}".rstrip("0") in ("1", "2", "5")
    assert highest // merged - lowest // merged < 60
    assert merged == 1 or (highest - lowest + 1) / merged >= 6


def test_few_values_stand_in_few_bins_and_many_in_fine_ones() -> None:
    spread = list(range(-20, 95, 5))
    assert merging([dict.fromkeys(spread, 1)]) == 10, "no comb of single values"
    assert merging([dict.fromkeys(range(-20, 95), 10_000)]) == 2
    narrow = {80: 100, 82: 300, 85: 300, 88: 28}
    assert merging([narrow]) < merging([narrow, dict.fromkeys(spread, 1)]) < merging([dict.fromkeys(spread, 1)])


def test_a_picture_is_the_same_every_time() -> None:
    panel = Histogram("score", 0.01, {"all": {80: 3, 91: 7}, "alt text": {-3: 1}})
    assert draw([panel]) == draw([panel])
