"""The benchmark of a large Dagster instance, from its settings to its report."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.instance.dagster_processes import daemon, wait_for, webserver
from benchmarks.instance.pages import PAGES
from benchmarks.instance.simulation import Simulation, key, make_simulation, write_sources
from benchmarks.instance.ticks import Ticks
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import UserError

_ARRIVING: Final = 100
#: Dagster accepts no more partitions per asset, and shard names have five digits.
_MOST_SHARDS: Final = 99_000
_AGAIN: Final = 2
#: Parts whose work another process does: the webserver or the daemon.
_ELSEWHERE: Final = ("pages", "backfill")


@dataclass(frozen=True)
class InstanceBenchSettings:
    """The command's flags."""

    shards: int = 60_000
    published: int = 11_000
    parts: tuple[str, ...] = ()
    backfill: int = 5000
    folder: Path | None = None
    json: Path | None = None


@dataclass(frozen=True)
class Measured:
    """Seconds that an action took the first time, and the fastest time after that (None: it ran once).

    `first_cpu_s` and `again_cpu_s` are CPU time, which hardly depends on how busy the machine is. They are None when the
    webserver or the daemon does the work.
    """

    part: str
    what: str
    first_s: float
    again_s: float | None = None
    first_cpu_s: float | None = None
    again_cpu_s: float | None = None


Part = Callable[[Simulation, InstanceBenchSettings], Iterator[Measured]]


def run_instance_bench(settings: InstanceBenchSettings, out: Console, err: Console) -> list[Measured]:
    """Create a simulated instance, measure it part by part, print, write the JSON.

    Raises:
        UserError: impossible flags, or a Dagster process failed.
    """
    parts = settings.parts or PARTS
    if not set(parts) <= set(PARTS):
        raise UserError(f"--parts: must be some of {', '.join(PARTS)}, not {', '.join(parts)}")
    if not 2 <= settings.shards <= _MOST_SHARDS:
        raise UserError(f"--shards: must be 2 to {_MOST_SHARDS}, not {settings.shards}")
    if not 1 <= settings.published < settings.shards:
        raise UserError(f"--published: must be 1 to {settings.shards - 1}, not {settings.published}")
    if settings.json is not None and not settings.json.absolute().parent.is_dir():
        raise UserError(f"--json {settings.json}: its folder does not exist")
    with _folder(settings.folder) as folder, _bars(err) as bars:
        bar = bars.add_task("making the instance", total=None)
        simulation = make_simulation(
            folder, settings.shards, settings.published, lambda count: bars.advance(bar, count)
        )
        bars.update(bar, total=bars.tasks[bar].completed)
        measuring = bars.add_task("measuring", total=len(parts))
        measured = []
        for part in parts:
            bars.update(measuring, description=f"measuring {part}")
            measured += list(_PARTS[part](simulation, settings))
            bars.advance(measuring)
    out.print(_table(measured, settings))
    if settings.json is not None:
        report = {
            "shards": settings.shards,
            "published": settings.published,
            "measured": [asdict(measurement) for measurement in measured],
        }
        settings.json.write_text(json.dumps(report, indent=2) + "\n", encoding="ascii")
    return measured


def _definitions(simulation: Simulation, _: InstanceBenchSettings) -> Iterator[Measured]:
    load = "from laion_coco_assets.definitions import defs; defs()"
    yield _timed("definitions", "definitions load, in their own process", lambda: _call(simulation, "-c", load), 1)


def _ticks(simulation: Simulation, _: InstanceBenchSettings) -> Iterator[Measured]:
    ticks = Ticks(simulation)
    yield _timed("ticks", "`new_shards`, nothing new", ticks.new_shards, _AGAIN)
    write_sources(simulation, [key(simulation.shards + number) for number in range(_ARRIVING)])
    yield _timed("ticks", f"`new_shards`, {_ARRIVING} new shards", ticks.new_shards)
    yield _timed("ticks", "`missing_shards`", ticks.missing_shards, _AGAIN)
    yield _timed("ticks", "`refetch_transient`", ticks.refetch_transient, _AGAIN)


def _commands(simulation: Simulation, _: InstanceBenchSettings) -> Iterator[Measured]:
    for arguments in (
        ["shards", "list"],
        ["shards", "add", "--shards", key(0)],
        ["check", "--data-dir", simulation.settings.data_dir, "--shards", key(1)],
    ):
        shown = " ".join("…" if argument == simulation.settings.data_dir else argument for argument in arguments)
        # The copied files hold another shard's name, so rules may fail. Exit code 1 is a result too.
        codes = (0, 1) if arguments[0] == "check" else (0,)
        call = partial(_call, simulation, "-m", "laion_coco_assets", *arguments, codes=codes)
        yield _timed("commands", f"`laion-coco {shown}`", call)


def _pages(simulation: Simulation, _: InstanceBenchSettings) -> Iterator[Measured]:
    with webserver(simulation) as server:
        for what, (query, variables) in PAGES.items():
            yield _timed("pages", what, partial(server.query, query, **variables), _AGAIN)


def _backfill(simulation: Simulation, settings: InstanceBenchSettings) -> Iterator[Measured]:
    unpublished = simulation.keys[len(simulation.published) :][: settings.backfill]
    stages = list(StageName)[1:]
    with webserver(simulation) as server, daemon(simulation) as process:
        started = time.perf_counter()
        launched = server.query(
            """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"assetSelection": [{"path": [stage.value]} for stage in stages], "partitionNames": unpublished},
        )["launchPartitionBackfill"]
        if "backfillId" not in launched:
            raise UserError(f"Dagster refused the backfill: {launched.get('message', launched['__typename'])}")
        yield Measured("backfill", f"{len(unpublished)} shards: launched", time.perf_counter() - started)
        runs = -(-len(unpublished) // simulation.settings.shards_per_run)

        def submitted() -> bool | None:
            answer = server.query(
                "query($filter: RunsFilter!) { runsOrError(filter: $filter, limit: 1) { ... on Runs { count } } }",
                filter={"tags": [{"key": "dagster/backfill", "value": launched["backfillId"]}]},
            )
            return True if answer["runsOrError"]["count"] >= runs else None

        wait_for("the backfill's runs", submitted, process)
        what = f"{len(unpublished)} shards: all {runs} runs queued by the daemon, which looks every 30 s"
        yield Measured("backfill", what, time.perf_counter() - started)


_PARTS: Final[dict[str, Part]] = {
    "definitions": _definitions,
    "ticks": _ticks,
    "commands": _commands,
    "pages": _pages,
    "backfill": _backfill,
}
PARTS: Final = tuple(_PARTS)


def _timed(part: str, what: str, action: Callable[[], Any], again: int = 0) -> Measured:
    seconds, cpu = [], []
    for _ in range(1 + again):
        started, busy = time.perf_counter(), _cpu()
        action()
        seconds.append(time.perf_counter() - started)
        cpu.append(_cpu() - busy)
    own = None if part in _ELSEWHERE else cpu[0]
    own_again = None if part in _ELSEWHERE else min(cpu[1:], default=None)
    return Measured(part, what, seconds[0], min(seconds[1:], default=None), own, own_again)


def _cpu() -> float:
    """CPU seconds of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _call(simulation: Simulation, *arguments: str, codes: Sequence[int] = (0,)) -> None:
    done = subprocess.run(  # noqa: S603  # our own commands
        [sys.executable, *arguments], env=simulation.environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in codes:
        raise UserError(f"{' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")


@contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    if named is None:
        with tempfile.TemporaryDirectory(prefix="laion-coco-instance-", ignore_cleanup_errors=True) as place:
            yield Path(place)
        return
    if named.exists() and any(named.iterdir()):
        raise UserError(f"--folder {named}: is not empty; name an empty or a new folder")
    named.mkdir(parents=True, exist_ok=True)
    yield named.absolute()


def _bars(err: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )


def _table(measured: Sequence[Measured], settings: InstanceBenchSettings) -> Table:
    table = Table(
        title=f"{settings.shards} shards fetched, {settings.published} published: seconds", title_justify="left"
    )
    for name in ("", "what", "first", "again", "first, CPU", "again, CPU"):
        table.add_column(name, justify="left" if name in ("", "what") else "right")
    for row in measured:
        figures = (row.first_s, row.again_s, row.first_cpu_s, row.again_cpu_s)
        table.add_row(row.part, row.what, *("" if figure is None else f"{figure:.2f}" for figure in figures))
    return table
