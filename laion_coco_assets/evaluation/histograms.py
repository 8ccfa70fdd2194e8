"""Histograms side by side in one small PNG: what scores and lengths a shard has, at a glance."""

import io
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

# Pixels.
_WIDTH: Final = 420
_HEIGHT: Final = 240
_LEFT: Final = 20
_RIGHT: Final = 20
_TOP: Final = 62
_BOTTOM: Final = 28
_TEXT: Final = 13

_MOST_BINS: Final = 60
_TICKS: Final = 6
_INK: Final = "#1f2933"
_GREY: Final = "#9aa5b1"
_COLOURS: Final = ("#4f43dd", "#e07a1f")  # the first is filled, the second drawn as a line over it


@dataclass(frozen=True)
class Histogram:
    """One panel: how many values fell into each bin, of one series or two."""

    title: str
    #: Bin i holds the values from i times this up to, but without, i + 1 times.
    bin_width: float
    #: Counts by bin, by the series' name.
    series: Mapping[str, Mapping[int, int]]


def draw(histograms: Sequence[Histogram]) -> bytes:
    """A PNG, 420x240 pixels a panel. Each series is scaled to its own number of values, so that two compare."""
    picture = Image.new("RGB", (_WIDTH * len(histograms), _HEIGHT), "white")
    canvas = ImageDraw.Draw(picture)
    for i, each in enumerate(histograms):
        _panel(canvas, each, left=i * _WIDTH)
    buffer = io.BytesIO()
    # A few colours and their mixtures at the letters' edges: a palette makes the file a third as long.
    picture.quantize(32).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _panel(canvas: ImageDraw.ImageDraw, histogram: Histogram, left: int) -> None:
    font = ImageFont.load_default(_TEXT)
    canvas.text((left + _LEFT, 6), histogram.title, _INK, ImageFont.load_default(_TEXT + 2))
    series = {name: counts for name, counts in histogram.series.items() if sum(counts.values())}
    if not series:
        canvas.text((left + _LEFT, _TOP), "no values", _GREY, font)
        return
    lowest, highest = (edge(bin_ for counts in series.values() for bin_ in counts) for edge in (min, max))
    merged = -(-(highest - lowest + 1) // _MOST_BINS)
    bins = (highest - lowest) // merged + 1
    shares = {name: _shares(counts, lowest, merged, bins) for name, counts in series.items()}
    tallest = max(max(each) for each in shares.values())
    step = (_WIDTH - _LEFT - _RIGHT) / bins
    floor = _HEIGHT - _BOTTOM

    def x(i: float) -> float:
        return left + _LEFT + i * step

    def y(share: float) -> float:
        return floor - share / tallest * (floor - _TOP)

    for place, (name, values) in enumerate(shares.items()):
        colour = _COLOURS[list(histogram.series).index(name)]
        if place == 0:
            for i, share in enumerate(values):
                if share:
                    canvas.rectangle((x(i), y(share), max(x(i), x(i + 1) - 2), floor), fill=colour)
        else:
            corners = [(x(i + side), y(share)) for i, share in enumerate(values) for side in (0, 1)]
            canvas.line([(x(0), floor), *corners, (x(bins), floor)], fill=colour, width=2)
        middle = _number(_median(histogram.series[name]) * histogram.bin_width, histogram.bin_width)
        canvas.text((left + _LEFT, 25 + 16 * place), f"{name}: median {middle}", colour, font)
    canvas.text((left + _WIDTH - _RIGHT, 25), f"tallest bin {tallest:.1%}", _GREY, font, anchor="ra")
    canvas.line([(x(0), floor), (x(bins), floor)], fill=_GREY)
    whole = 0.5 if histogram.bin_width == merged == 1 else 0  # a whole number stands below its bar's middle
    for tick in ticks(lowest, highest):
        at = x((tick - lowest) / merged + whole)
        canvas.line([(at, floor), (at, floor + 4)], fill=_GREY)
        canvas.text((at, floor + 6), _number(tick * histogram.bin_width, histogram.bin_width), _INK, font, anchor="ma")


def ticks(lowest: int, highest: int) -> range:
    """Round numbers among the bins: multiples of 1, 2, 5, 10, 20, ..., of which few enough to read lie in the range."""
    steps = (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))
    step = next(each for each in steps if (highest - lowest) // each < _TICKS)
    return range(-(-lowest // step) * step, highest + 1, step)


def _shares(counts: Mapping[int, int], lowest: int, merged: int, bins: int) -> list[float]:
    """Of `bins` bins, each of which takes `merged` ones together, the share of all values."""
    together: Counter[int] = Counter()
    for bin_, count in counts.items():
        together[(bin_ - lowest) // merged] += count
    total = sum(counts.values())
    return [together[i] / total for i in range(bins)]


def _median(counts: Mapping[int, int]) -> int:
    """The bin in which the median lies, the lower one where it lies between two."""
    half = sum(counts.values()) / 2
    below = 0
    for bin_ in sorted(counts):
        below += counts[bin_]
        if below >= half:
            return bin_
    raise ValueError("no values")


def _number(value: float, bin_width: float) -> str:
    return f"{value:.0f}" if bin_width >= 1 else f"{value:.2f}"
