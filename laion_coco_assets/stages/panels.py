"""A histogram of a stage's file, as its stage declares it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: The bin width of similarities, which lie between -1 and 1.
SIMILARITY_BIN: Final = 0.01


@dataclass(frozen=True)
class Panel:
    """One histogram: how many values fall into each bin, of one series or two."""

    title: str
    bin_width: float
    #: By name, SQL over a row of the file (`stage`): a list of values.
    series: Mapping[str, str]
