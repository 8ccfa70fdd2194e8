"""Histograms side by side in one small PNG: what scores and lengths a shard has, at a glance."""

import io
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

# Pixels.
_WIDTH: Final = 420
_HEIGHT: Final = 240
_LEFT: Final = 46
_RIGHT: Final = 20
_TOP: Final = 68
_BOTTOM: Final = 28
_TEXT: Final = 13

_FEWEST_BINS: Final = 6
_MOST_BINS: Final = 60
_TICKS: Final = 9
_SHARE_TICKS: Final = 4
# The picture has no background of its own, and these colours are about as far from white as from the UI's dark mode.
_CLEAR: Final = "#75797f00"
_INK: Final = "#75797f"
_LINE: Final = "#75797f50"
_COLOURS: Final = ("#6c62ef", "#c46210")  # the first is filled, the second drawn as a line over it


@dataclass(frozen=True)
class Histogram:
    """One panel: how many values fell into each bin, of one series or two."""

    title: str
    #: Bin i holds the values from i times this up to, but without, i + 1 times.
    bin_width: float
    #: Counts by bin, by the series' name.
    series: Mapping[str, Mapping[int, int]]


def draw(histograms: Sequence[Histogram]) -> bytes:
    """A PNG without background, 420x240 pixels per panel. Each series is scaled to its own number of values, for comparison."""
    picture = Image.new("RGBA", (_WIDTH * len(histograms), _HEIGHT), _CLEAR)
    canvas = ImageDraw.Draw(picture)
    for i, histogram in enumerate(histograms):
        _panel(canvas, histogram, left=i * _WIDTH)
    buffer = io.BytesIO()
    # There are few colours, so a palette makes the file a third as large.
    picture.quantize(64, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _panel(canvas: ImageDraw.ImageDraw, histogram: Histogram, left: int) -> None:
    font = ImageFont.load_default(_TEXT)
    canvas.text((left + _RIGHT, 6), histogram.title, _INK, ImageFont.load_default(_TEXT + 2))
    series = {name: counts for name, counts in histogram.series.items() if sum(counts.values())}
    if not series:
        canvas.text((left + _RIGHT, 26), "no values", _INK, font)
        return
    merged = merging(list(series.values()))
    lowest, highest = (edge(bin_ for counts in series.values() for bin_ in counts) // merged for edge in (min, max))
    bins = highest - lowest + 1
    shares = {name: _shares(counts, lowest, merged, bins) for name, counts in series.items()}
    tallest = max(max(values) for values in shares.values())
    step = (_WIDTH - _LEFT - _RIGHT) / bins
    floor = _HEIGHT - _BOTTOM

    def x(i: float) -> float:
        return left + _LEFT + i * step

    def y(share: float) -> float:
        return floor - share / tallest * (floor - _TOP)

    permille = round(tallest * 1000)
    for tick in ticks(0, permille, _SHARE_TICKS)[1:]:
        canvas.line([(x(0), y(tick / 1000)), (x(bins), y(tick / 1000))], fill=_LINE)
        canvas.text((x(0) - 6, y(tick / 1000)), f"{tick / 10:g}%", _INK, font, anchor="rm")
    for place, (name, values) in enumerate(shares.items()):
        colour = _COLOURS[list(histogram.series).index(name)]
        if place == 0:
            for i, share in enumerate(values):
                if share:
                    canvas.rectangle((x(i), y(share), max(x(i), x(i + 1) - 2), floor), fill=colour)
        else:
            corners = [(x(i + side), y(share)) for i, share in enumerate(values) for side in (0, 1)]
            canvas.line([(x(0), floor), *corners, (x(bins), floor)], fill=colour, width=2)
        counts = histogram.series[name]
        middle = _number(_median(counts) * histogram.bin_width, histogram.bin_width)
        legend = f"{name} ({sum(counts.values()):,}): median {middle}"
        canvas.text((left + _RIGHT, 26 + 16 * place), legend, colour, font)
    whose = "each series" if len(series) > 1 else next(iter(series))
    canvas.text((left + _WIDTH - _RIGHT, 26), f"share of {whose}", _INK, font, anchor="ra")
    canvas.line([(x(0), floor), (x(bins), floor)], fill=_INK)
    # A whole number is written below its bar's middle. Any other tick is an edge, and the last bin has an upper edge,
    # too.
    whole = histogram.bin_width == merged == 1
    across = ticks(lowest * merged, highest * merged if whole else (highest + 1) * merged)
    for tick in across:
        at = x(tick / merged - lowest + (0.5 if whole else 0))
        canvas.line([(at, floor), (at, floor + 4)], fill=_INK)
        label = _number(tick * histogram.bin_width, across.step * histogram.bin_width)
        canvas.text((at, floor + 6), label, _INK, font, anchor="ma")


def ticks(lowest: int, highest: int, most: int = _TICKS) -> range:
    """Round numbers among the bins: multiples of the first of 1, 2, 5, 10, 20, ... that gives few enough to read."""
    step = next(number for number in _round_numbers() if (highest - lowest) // number < most)
    return range(-(-lowest // step) * step, highest + 1, step)


def merging(series: Sequence[Mapping[int, int]]) -> int:
    """How many bins (1, 2, 5, 10, 20, ...) become one bin of the picture: the fewer the values, the more.

    Each series has the width of Freedman and Diaconis (https://doi.org/10.1007/BF01025868): twice the interquartile
    range over the cube root of its number of values. The picture takes the geometric mean of the widths. It has at most
    60 bins, and at least 6 if the values span that many.
    """
    widths = [
        max(1.0, 2 * (_quantile(counts, 0.75) - _quantile(counts, 0.25)) / sum(counts.values()) ** (1 / 3))
        for counts in series
    ]
    width = math.prod(widths) ** (1 / len(widths))
    lowest, highest = (edge(bin_ for counts in series for bin_ in counts) for edge in (min, max))
    span = highest - lowest + 1
    round_numbers = list(itertools.takewhile(lambda number: number <= 10 * span, _round_numbers()))
    allowed = [
        number
        for number in round_numbers
        if highest // number - lowest // number < _MOST_BINS and (number == 1 or number * _FEWEST_BINS <= span)
    ]
    return min(allowed, key=lambda number: abs(math.log(number / width)))


def _round_numbers() -> Iterator[int]:
    return (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))


def _shares(counts: Mapping[int, int], lowest: int, merged: int, bins: int) -> list[float]:
    """Each bin's share of all values, for `bins` bins that each take `merged` ones together."""
    together: Counter[int] = Counter()
    for bin_, count in counts.items():
        together[bin_ // merged - lowest] += count
    total = sum(counts.values())
    return [together[i] / total for i in range(bins)]


def _median(counts: Mapping[int, int]) -> int:
    return _quantile(counts, 0.5)


def _quantile(counts: Mapping[int, int], share: float) -> int:
    """The bin in which a quantile lies, the lower one where it lies between two."""
    wanted = sum(counts.values()) * share
    below = 0
    for bin_ in sorted(counts):
        below += counts[bin_]
        if below >= wanted:
            return bin_
    raise ValueError("no values")


def _number(value: float, step: float) -> str:
    """The value, with as many decimals as tell values `step` apart from each other."""
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
