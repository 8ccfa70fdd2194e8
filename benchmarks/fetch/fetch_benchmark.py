"""The fetch benchmark, from its settings to its report."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.fetch.contestants import Contestant, img2dataset, ours, write_certificates
from benchmarks.fetch.image_servers import Servers, addresses
from benchmarks.fetch.process_cost import run_measured
from laion_coco_assets.errors import UserError

OURS: Final = "ours"
SCHEMES: Final = ("https", "http")
_MAKERS: Final[dict[str, Callable[[Path, int], Contestant]]] = {
    OURS: ours,
    "img2dataset": lambda folder, concurrency: img2dataset(folder, concurrency, hashed=False),
    "img2dataset_hashed_ca": lambda folder, concurrency: img2dataset(folder, concurrency, hashed=True),
}
CONTESTANTS: Final = tuple(_MAKERS)


@dataclass(frozen=True)
class FetchBenchSettings:
    """The command's flags. In each round, our fetcher gets `count` images, each of the others `peer_count`."""

    count: int = 2000
    peer_count: int = 400
    rounds: int = 2
    schemes: tuple[str, ...] = SCHEMES
    contestants: tuple[str, ...] = CONTESTANTS
    concurrency: int = 64
    server_processes: int = 1
    slow: bool = False
    json: Path | None = None


@dataclass(frozen=True)
class Measured:
    """One contestant's round."""

    images_per_s: float
    cpu_ms: float
    peak_memory_bytes: int


#: By scheme and contestant, one entry per round.
Rounds = dict[str, dict[str, list[Measured]]]


def run_fetch_bench(settings: FetchBenchSettings, out: Console, err: Console) -> Rounds:
    """Start servers, let each contestant fetch from them in turn, print, write the JSON.

    Raises:
        UserError: impossible flags, a contestant that cannot be installed, or one that did not get every image.
    """
    for flag, given, known in (
        ("--contestants", settings.contestants, CONTESTANTS),
        ("--schemes", settings.schemes, SCHEMES),
    ):
        if not given or not set(given) <= set(known):
            raise UserError(f"{flag}: must be some of {', '.join(known)}, not {', '.join(given) or 'nothing'}")
    if settings.json is not None and not settings.json.absolute().parent.is_dir():
        raise UserError(f"--json {settings.json}: its folder does not exist")
    rounds: Rounds = {scheme: {name: [] for name in settings.contestants} for scheme in settings.schemes}
    with (
        tempfile.TemporaryDirectory(prefix="laion-coco-bench-") as place,
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
        ) as bars,
    ):
        folder = Path(place)
        total = settings.rounds * len(settings.schemes) * len(settings.contestants)
        measuring = bars.add_task("measuring", total=total)
        write_certificates(folder, addresses())
        contestants = [_MAKERS[name](folder, settings.concurrency) for name in settings.contestants]
        with Servers(folder, settings.server_processes, slow=settings.slow) as servers:
            for _ in range(settings.rounds):
                for scheme in settings.schemes:
                    for contestant in contestants:
                        count = settings.count if contestant.name == OURS else settings.peer_count
                        urls = servers.urls(scheme, count)
                        rounds[scheme][contestant.name].append(_measure(contestant, servers, urls, folder))
                        bars.advance(measuring)
    out.print(_table(rounds))
    if settings.json is not None:
        settings.json.write_text(json.dumps(medians(rounds), indent=2) + "\n", encoding="ascii")
    return rounds


def _measure(contestant: Contestant, servers: Servers, urls: Sequence[str], folder: Path) -> Measured:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        own = Path(place)
        source, out = own / "urls.parquet", own / "out"
        out.mkdir()
        pq.write_table(pa.table({"URL": urls, "TEXT": [""] * len(urls)}), source)
        command = contestant.command(source, out, len(urls))
        cost = run_measured(command, {**os.environ, **contestant.environment}, own / "log")
        images = contestant.images(out)
        if images != len(urls):
            last_output = (own / "log").read_text(errors="replace").strip()[-800:]
            raise UserError(
                f"{contestant.name} got {images} of {len(urls)} images, so there is nothing to compare: {last_output}"
            )
        seconds = cost.ended - servers.first_request()
    return Measured(images / seconds, cost.cpu_s * 1000 / images, cost.peak_memory_bytes)


def medians(rounds: Rounds) -> dict[str, dict[str, dict[str, float]]]:
    """The medians over the rounds, which `--json` writes."""
    return {
        scheme: {
            name: {
                "images_per_s": round(median(measured.images_per_s for measured in of_contestant), 2),
                "cpu_ms": round(median(measured.cpu_ms for measured in of_contestant), 3),
                "peak_memory_bytes": int(median(measured.peak_memory_bytes for measured in of_contestant)),
            }
            for name, of_contestant in contestants.items()
        }
        for scheme, contestants in rounds.items()
    }


def _ratio(contestants: Mapping[str, Sequence[Measured]], name: str) -> str:
    """How many times faster ours was: the median of the rounds' ratios."""
    if OURS not in contestants or name == OURS:
        return ""
    pairs = zip(contestants[OURS], contestants[name], strict=True)
    return f"{median(our.images_per_s / other.images_per_s for our, other in pairs):.1f}x"


def _table(rounds: Rounds) -> Table:
    table = Table(title="Images over loopback, original bytes kept", title_justify="left")
    for name in ("", "contestant", "images/s", "CPU-ms an image", "peak memory, MB", "ours is faster by"):
        table.add_column(name, justify="left" if name in ("", "contestant") else "right")
    for scheme, contestants in medians(rounds).items():
        for name, figures in contestants.items():
            table.add_row(
                scheme,
                name,
                f"{figures['images_per_s']:,.0f}",
                f"{figures['cpu_ms']:.2f}",
                f"{figures['peak_memory_bytes'] / 1e6:,.0f}",
                _ratio(rounds[scheme], name),
            )
    return table
