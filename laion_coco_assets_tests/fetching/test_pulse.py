"""Silence is told from slowness: by its length in our own beats, whatever the clock says."""

import asyncio

import pytest

from laion_coco_assets.fetching.pulse import Pulse


class EnoughError(Exception):
    """The test has counted as many beats as it wants."""


def beats_until_lost(*, heard_every: int | None, most: int = 1_000) -> int:
    counted = 0

    async def sleep(seconds: float) -> None:
        nonlocal counted
        counted += 1
        if counted > most:
            raise EnoughError
        if heard_every is not None and counted % heard_every == 0:
            pulse.heard()

    pulse = Pulse(sleep)
    said = asyncio.run(pulse.lost())
    assert said == "no sign of life for 120 s: stopped, or hanging"
    return counted


def test_a_process_that_never_says_anything_is_lost_after_two_minutes() -> None:
    assert beats_until_lost(heard_every=None) == 25  # the first may have been just before


@pytest.mark.parametrize("heard_every", [1, 2, 24])
def test_a_process_that_is_merely_slow_is_never_lost(heard_every: int) -> None:
    with pytest.raises(EnoughError):
        beats_until_lost(heard_every=heard_every)
