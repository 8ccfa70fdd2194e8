"""What a run's log says of progress can be trusted, and is not much."""

import pytest

from laion_coco_assets.resources.logged_progress import LoggedProgress


@pytest.fixture
def hand() -> list[float]:
    """A clock's hand; the test turns it."""
    return [0.0]


@pytest.fixture
def progress(hand: list[float]) -> LoggedProgress:
    return LoggedProgress(clock=lambda: hand[0])


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO")
    return caplog


def said(log: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, without the stage and the shard before it."""
    return [each.removeprefix("blip_candidates, shard a: ") for each in log.messages]


def burst(progress: LoggedProgress, rows: int) -> None:
    for _ in range(rows):
        progress.advance(1)


def test_of_a_burst_at_the_end_nothing_is_extrapolated(
    progress: LoggedProgress, hand: list[float], log: pytest.LogCaptureFixture
) -> None:
    progress.start("blip_candidates", "a", 6)
    hand[0] = 30
    burst(progress, 6)
    assert said(log) == ["6 rows to go", "1 of 6 rows after 30 s"]


def test_batches_tell_their_own_pace(
    progress: LoggedProgress, hand: list[float], log: pytest.LogCaptureFixture
) -> None:
    progress.start("blip_candidates", "a", 640)
    for hand[0] in (200, 400, 600):
        burst(progress, 64)
    assert said(log) == [
        "640 rows to go",
        "1 of 640 rows after 200 s",
        "65 of 640 rows after 400 s, 3.1 s a row, about 30 min left",
        "129 of 640 rows after 10 min, 3.1 s a row, about 27 min left",
    ]


def test_rows_that_were_found_count_in_no_pace(
    progress: LoggedProgress, hand: list[float], log: pytest.LogCaptureFixture
) -> None:
    progress.start("blip_candidates", "a", 10_000, done=9_000)
    for hand[0] in range(1, 31):
        progress.advance(2)
    assert said(log) == [
        "resuming after 9000 of 10000 rows from checkpoints",
        "9020 of 10000 rows after 10 s",
        "9040 of 10000 rows after 20 s, 2.0 rows/s, about 480 s left",
        "9060 of 10000 rows after 30 s, 2.0 rows/s, about 470 s left",
    ]


def test_a_line_every_ten_seconds_at_most(
    progress: LoggedProgress, hand: list[float], log: pytest.LogCaptureFixture
) -> None:
    progress.start("blip_candidates", "a", 10**9)
    for i in range(1, 100_001):
        hand[0] = i / 100
        progress.advance(1000)
    lines = said(log)
    assert len(lines) == 1 + 100
    assert lines[-1] == "100000000 of 1000000000 rows after 17 min, 100,000.0 rows/s, about 2.5 h left"
