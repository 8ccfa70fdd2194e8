"""What the commands have in common: flags, consoles, the choice of shards, the end by Ctrl-C."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from laion_coco_assets.errors import UserError

out = Console()
err = Console(stderr=True)

DataDir = Annotated[str, typer.Option(help="Folder or fsspec URL (s3://…, gs://…) that the stages write to.")]
Source = Annotated[
    str,
    typer.Option(
        help="Parquet with columns URL and TEXT: a file, a folder, a quoted glob. Or images: WebDataset tars, a folder."
    ),
]
Shards = Annotated[
    list[str] | None, typer.Option(help="Only this shard (the file's stem); repeat it, or part several by commas.")
]
Removals = Annotated[
    str,
    typer.Option(
        envvar="LAION_COCO_REMOVALS",
        help="URLs, sample_ids and domains that are not published: a text or parquet file, or a folder.",
    ),
]
Device = Annotated[str, typer.Option(help="auto (CUDA, MPS, CPU in this order), cuda, cuda:1, mps or cpu.")]
Profile = Annotated[str, typer.Option(help="A shipped profile (laion-coco, laion-idle-cap, demo) or a TOML file.")]
FetchConcurrency = Annotated[int, typer.Option(min=1, help="Requests in flight.")]
FetchLanes = Annotated[
    int,
    typer.Option(min=1, max=64, help="Processes that fetch, each host with one of them; at most --fetch-concurrency."),
]
HostSpacing = Annotated[float, typer.Option(min=0, help="Seconds between two requests to one host, at least.")]
AllowNetwork = Annotated[
    list[str] | None,
    typer.Option(help="A private network that images may come from, as 127.0.0.0/8; repeat it for more."),
]
MaxSamples = Annotated[
    int | None,
    typer.Option(
        min=1, help="A trial: only so many samples of each shard, from its first. Best in a folder of its own."
    ),
]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]


def select(there: Sequence[str], wanted: Sequence[str] | None, where: str) -> list[str]:
    """The shards of `where` that --shards names, all of them when it names none. Raises UserError for one that is not there."""
    names = [name for each in wanted or () for name in ([each] if each in there else each.split(",")) if name]
    unknown = [name for name in names if name not in there]
    if unknown:
        some = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
        raise UserError(f"--shards: {', '.join(unknown)} not in {where}; it has {len(there)}: {some}")
    return [name for name in there if name in names] if names else list(there)


@contextmanager
def interruptible(left: str = "what was done is kept; the same command goes on behind it") -> Iterator[None]:
    """Ctrl-C, or a polite kill, ends long work with one line instead of a traceback; `left` says what it leaves. 130: the shell's code."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except KeyboardInterrupt:
        for impatience in (signal.SIGINT, signal.SIGTERM):
            signal.signal(impatience, signal.SIG_IGN)  # the exit is under way, and short
        err.print(f"[yellow]interrupted:[/] {left}", highlight=False)
        raise typer.Exit(130) from None


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
