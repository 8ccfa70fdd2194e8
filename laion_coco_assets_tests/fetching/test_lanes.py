"""Several processes fetch as one does: same results, same order, same manners; and one that dies takes no row with it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from laion_coco_assets.contract.reasons import Reason
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching import lane_worker
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetched, Fetcher
from laion_coco_assets.fetching.lanes import _PROGRAM
from laion_coco_assets.fetching.outcome import Means
from laion_coco_assets_tests.dagster_server import wait_for
from laion_coco_assets_tests.fetching.servers import BadServer
from laion_coco_assets_tests.images import pictures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

PATHS = ("/good", "/gone", "/redirect", "/html_as_jpeg", "/bomb", "/too_short", "/opt_out", "/extra_headers")


def means(lanes: int, server: BadServer, **changes: int) -> FetchDeployment:
    names = {f"host-{number}.test": f"127.0.0.1:{server.port}" for number in range(8)}
    return FetchDeployment(
        **{"lanes": lanes, "allow_networks": ("127.0.0.0/8",), "backoff_s": 0.001, "host_failures": 0}
        | {"decode_workers": 2, "hosts": names}
        | changes
    )


def urls(paths: tuple[str, ...] = PATHS, times: int = 1) -> list[str]:
    hosts = [f"http://host-{number}.test" for number in range(8)]
    return [f"{host}{path}?{time}" for time in range(times) for path in paths for host in hosts]


def processes(fetcher: Fetcher) -> list[int]:
    assert fetcher._lanes is not None
    return [lane._process.pid for lane in fetcher._lanes._lanes if lane._process is not None]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_results_and_their_order_are_the_same_whatever_the_number_of_lanes() -> None:
    given = [*urls(), "file:///etc/hostname", *urls()[:5], None]
    found: list[list[Fetched]] = []
    with BadServer() as server:
        for lanes in (1, 3):
            with Fetcher(pictures.settings(), means(lanes, server)) as fetcher:
                found.append(list(fetcher.fetch(given)))
                running = [] if lanes == 1 else processes(fetcher)
    assert found[0] == found[1]
    assert len(running) == 3
    assert all(gone(pid) for pid in running)
    assert [each.reason for each in found[0][-7:]] == [Reason.SCHEME, *[Reason.DUPLICATE_URL] * 5, Reason.INVALID_URL]
    assert found[0][0].image == pictures.JPEG


def test_a_host_has_one_lane_and_so_one_limit() -> None:
    with BadServer() as server, Fetcher(pictures.settings(), means(3, server, per_host=2)) as fetcher:
        one = [f"http://host-1.test/good?{number}" for number in range(40)]
        assert {each.reason for each in fetcher.fetch(one)} == {None}
        assert len(processes(fetcher)) == 1
    assert server.most_at_once <= 2


def test_the_rows_of_a_lane_that_is_killed_start_over() -> None:
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server, look_ahead=64)) as fetcher:
        results = fetcher.fetch(urls(("/good",), times=60))
        found = [next(results)]
        killed = processes(fetcher)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        found += results
        assert len(found) == 480
        assert {replace(each, final_url=None) for each in found} == {replace(found[0], final_url=None)}
        assert found[0].reason is None
        assert not set(processes(fetcher)) & set(killed)


@pytest.mark.parametrize(
    ("program", "deadline_s", "how"),
    [
        ("raise SystemExit(3)", 120, "exit code 3"),
        ("input()", 0.1, "not ready after 0.1 s"),
        ("print('hello', flush=True); input()", 120, "b'h' where it should say that it is ready"),
    ],
)
@pytest.mark.timeout(240)
def test_lanes_that_can_not_live_are_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, program: str, deadline_s: float, how: str
) -> None:
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._PROGRAM", program)
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._START_DEADLINE_S", deadline_s)
    with (
        BadServer() as server,
        Fetcher(pictures.settings(), means(2, server)) as fetcher,
        pytest.raises(RuntimeError, match=rf"fetching process \d died \({how}\) for the 4th time"),
    ):
        list(fetcher.fetch(urls()))


_BEATS_OFTEN = "from laion_coco_assets.fetching import pulse; pulse.BEAT_S = 0.1"


def test_a_lane_that_has_nothing_to_do_says_that_it_lives() -> None:
    orders = json.dumps([each.model_dump(mode="json") for each in (pictures.settings(), FetchDeployment())])
    command = [sys.executable, "-c", f"{_BEATS_OFTEN}; {_PROGRAM}", orders]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as lane:
        assert lane.stdout is not None
        beats = lane_worker.HEADER.pack(0, 0) * 3
        assert lane.stdout.read(1 + len(beats)) == lane_worker.READY + beats
        lane.communicate()
    assert lane.returncode == 0


@pytest.mark.timeout(240)
def test_the_rows_of_a_lane_that_is_stopped_start_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._PROGRAM", f"{_BEATS_OFTEN}; {_PROGRAM}")
    monkeypatch.setattr("laion_coco_assets.fetching.pulse.BEAT_S", 0.1)
    monkeypatch.setattr(
        "laion_coco_assets.fetching.lanes._DEATHS", 1_000
    )  # so short a silence may be the machine's load
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server, look_ahead=64)) as fetcher:
        results = fetcher.fetch(urls(("/good",), times=60))
        found = [next(results)]
        stopped = processes(fetcher)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        found += results
        assert [each.final_url for each in found] == urls(("/good",), times=60)
        assert {each.reason for each in found} == {None}
        assert all(gone(pid) for pid in stopped)
    assert "died (no sign of life for 2.4 s: stopped, or hanging): its" in caplog.text


@pytest.mark.timeout(240)
def test_lanes_that_hang_for_good_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = "import os, sys; os.write(1, b'\x06'); list(sys.stdin)"
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._PROGRAM", hangs)
    monkeypatch.setattr("laion_coco_assets.fetching.pulse.BEAT_S", 0.01)
    said = r"fetching process \d died \(no sign of life for 0.24 s: stopped, or hanging\) for the 4th time\..*--fetch-lanes 1"
    with (
        BadServer() as server,
        Fetcher(pictures.settings(), means(2, server)) as fetcher,
        pytest.raises(RuntimeError, match=said),
    ):
        list(fetcher.fetch(urls()))


def test_deaths_are_forgotten_after_many_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._DEATHS", 1)
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._ANSWERS_TO_FORGET_DEATHS", 20)
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server)) as fetcher:
        for round_ in range(3):
            given = [f"http://host-1.test/good?{round_}-{number}" for number in range(20)]
            assert {each.reason for each in fetcher.fetch(given)} == {None}
            (pid,) = processes(fetcher)
            os.kill(pid, signal.SIGKILL)


WRITES_DOWN_WHAT_IT_IS_ASKED = """
import json, os
from laion_coco_assets.fetching.lane_worker import _Lane

take = _Lane.take

def write_down(lane, question):
    with open(f"FOLDER/{os.getpid()}", "a") as file:
        file.write(json.dumps(question) + "\\n")
    take(lane, question)

_Lane.take = write_down
"""


@pytest.mark.timeout(240)
def test_more_rows_than_fit_into_memory_come_through_all_lanes_even_if_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane starts a row only as it hears that others were given back, and so must its successor."""
    writes_down = WRITES_DOWN_WHAT_IT_IS_ASKED.replace("FOLDER", str(tmp_path))
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._PROGRAM", f"{writes_down}\n{_PROGRAM}")
    held = 6 * len(pictures.JPEG)
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server, max_bytes_held=held)) as fetcher:
        found = 0
        for each in fetcher.fetch(urls(("/good",), times=20)):
            assert each.reason is None
            found += 1
            if found == 80:
                before = processes(fetcher)
                os.kill(before[0], signal.SIGKILL)
        assert found == 160
        (successor,) = set(processes(fetcher)) - set(before)
    what, _, row, _ = json.loads((tmp_path / str(successor)).read_text().splitlines()[0])
    assert what == "advance"
    assert row > 0


def test_nothing_of_a_call_is_kept_once_it_has_ended() -> None:
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server)) as fetcher:
        assert {each.reason for each in fetcher.fetch(urls(("/good",)))} == {None}
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), fetcher._loop).result(60)  # after what was asked before
        assert fetcher._lanes is not None
        assert [lane._given_back for lane in fetcher._lanes._lanes] == [{}, {}]


def test_a_lane_keeps_nothing_of_a_call_that_has_ended() -> None:
    async def scenario() -> None:
        made = Means(pictures.settings(), FetchDeployment())
        lane = lane_worker._Lane(made, cast("asyncio.StreamWriter", None))
        for question in (("advance", 1, 0), ("advance", 2, 0), ("end", 1, 0)):
            lane.take((*question, None))
        assert set(lane._calls) == {2}
        await made.close()

    asyncio.run(scenario())


NO_PYTHON = "import sys; sys.executable = '/no/such/python'"
NO_SENSE = """
from laion_coco_assets.images.workers import _Worker

async def start(orders):
    raise KeyError("odd")

_Worker.start = start
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("trouble", "error", "said"),
    [
        (NO_PYTHON, UserError, "can not start a decoding process"),
        (NO_SENSE, RuntimeError, "^KeyError: 'odd'"),
    ],
)
def test_a_lane_that_can_start_no_decoder_says_so(
    monkeypatch: pytest.MonkeyPatch, trouble: str, error: type[Exception], said: str
) -> None:
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._PROGRAM", f"{trouble}\n{_PROGRAM}")
    with (
        BadServer() as server,
        Fetcher(pictures.settings(), means(2, server)) as fetcher,
        pytest.raises(error, match=said),
    ):
        list(fetcher.fetch(urls(("/good",))))


def test_leaving_early_ends_what_is_under_way_and_the_next_call_works() -> None:
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server)) as fetcher:
        results = fetcher.fetch(["http://host-1.test/good", *urls(("/silent",))])
        assert next(results).reason is None
        results.close()
        assert fetcher._lanes is not None
        assert all(not lane._waiting for lane in fetcher._lanes._lanes)
        assert {each.reason for each in fetcher.fetch(urls(("/good",)))} == {None}


@pytest.mark.timeout(240)
def test_leaving_does_not_wait_for_a_lane_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._PROGRAM", "input()")
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._CANCEL_S", 10_000)
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server)) as fetcher:
        results = fetcher.fetch([None, *urls()])
        assert next(results).reason is Reason.INVALID_URL
        results.close()
        assert fetcher._lanes is not None
        assert all(not lane._waiting for lane in fetcher._lanes._lanes)


def test_leaving_does_not_wait_for_a_lane_that_dies_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laion_coco_assets.fetching.lanes._CANCEL_S", 10_000)
    with BadServer() as server, Fetcher(pictures.settings(), means(2, server)) as fetcher:
        results = fetcher.fetch(["http://host-1.test/good", *[f"http://host-1.test/silent?{n}" for n in range(4)]])
        assert next(results).reason is None
        (pid,) = processes(fetcher)
        os.kill(pid, signal.SIGSTOP)
        leaving = threading.Thread(target=results.close)
        leaving.start()
        assert fetcher._lanes is not None
        waiting = [asked for lane in fetcher._lanes._lanes for asked in lane._waiting.values()]
        assert len(waiting) == 4
        wait_for("the rows to be cancelled", lambda: all(asked.cancelled for asked in waiting) or None)
        os.kill(pid, signal.SIGKILL)
        leaving.join(120)
        assert not leaving.is_alive()


def test_a_fetcher_that_is_closed_while_rows_wait_ends_its_lanes_and_says_so() -> None:
    with BadServer() as server:
        fetcher = Fetcher(pictures.settings(), means(2, server)).__enter__()
        results = fetcher.fetch(["http://host-1.test/good", *urls(("/silent",))])
        assert next(results).reason is None
        running = processes(fetcher)
        said: list[str] = []

        def read() -> None:
            try:
                next(results)
            except RuntimeError as error:
                said.append(str(error))

        reader = threading.Thread(target=read)
        reader.start()
        fetcher.__exit__(None, None, None)
        reader.join(60)
        assert all(gone(pid) for pid in running)
        assert len(said) == 1
        assert "closed" in said[0]
