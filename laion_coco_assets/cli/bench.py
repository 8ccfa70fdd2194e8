"""`laion-coco bench`: the engine, the fetcher and Dagster, measured."""

from pathlib import Path
from typing import Annotated

import typer

from laion_coco_assets.cli.options import Device, Dtype, FetchConcurrency, err, interruptible, out
from laion_coco_assets.errors import UserError

app = typer.Typer(invoke_without_command=True)


@app.callback()
def bench(
    context: typer.Context,
    profile: Annotated[str, typer.Option(help="Measure a profile's models; without it, random weights.")] = "",
    size: Annotated[str, typer.Option(help="Of random models: full (the published sizes) or small.")] = "full",
    images: Annotated[
        str, typer.Option(help="A folder of images, taken at 640 pixels at most; else some are drawn.")
    ] = "",
    count: Annotated[int, typer.Option(min=1, help="Images that the engine gets each round.")] = 8,
    plain_count: Annotated[int, typer.Option(min=1, help="Images that the plain pipeline gets.")] = 4,
    worker_count: Annotated[int, typer.Option(min=1, help="Images that the worker's procedure gets.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in turn.")] = 2,
    device: Device = "auto",
    dtype: Dtype = "auto",
    baseline_dtype: Annotated[str, typer.Option(help="The baselines' dtype; --dtype unless given.")] = "",
    batch_size: Annotated[int, typer.Option(min=0, help="The engine's; 0 picks itself.")] = 0,
    baseline_batch_size: Annotated[int, typer.Option(min=0, help="The plain pipeline's; 0: the fastest found.")] = 0,
    sweep: Annotated[str, typer.Option(help="Batch sizes to tabulate for the engine, as 16,64,256.")] = "",
    baseline_sweep: Annotated[str, typer.Option(help="Likewise for the plain pipeline; the best is then used.")] = "",
    pipelines: Annotated[str, typer.Option(help="Which to measure; engine must be one.")] = "engine,plain,worker",
    json: Annotated[str, typer.Option(help="Write the figures to this file.")] = "",
) -> None:
    """Measure the engine against the plain pipeline and the original worker's procedure, in turn, on this machine.

    Full-size models with random weights need no download; 16 GB of memory in float32. See docs/PERFORMANCE.md.
    """
    if context.invoked_subcommand is not None:
        return
    from laion_coco_assets.bench.models import Size
    from laion_coco_assets.bench.run import BenchSettings, run_bench

    if size not in list(Size):
        raise UserError(f"--size: must be {' or '.join(Size)}, not {size!r}")
    settings = BenchSettings(
        profile=profile,
        size=Size(size),
        images=images,
        count=count,
        plain_count=plain_count,
        worker_count=worker_count,
        rounds=rounds,
        device=device,
        dtype=dtype,
        baseline_dtype=baseline_dtype,
        batch_size=batch_size,
        baseline_batch_size=baseline_batch_size,
        sweep=_numbers("--sweep", sweep),
        baseline_sweep=_numbers("--baseline-sweep", baseline_sweep),
        pipelines=tuple(filter(None, pipelines.split(","))),
        json=Path(json) if json else None,
    )
    with interruptible("nothing was measured; begin again"):
        run_bench(settings, out, err)


@app.command("fetch")
def fetch(
    count: Annotated[int, typer.Option(min=1, help="Images for our fetcher, each round.")] = 2000,
    peer_count: Annotated[int, typer.Option(min=1, help="Images for each of the others, which are slower.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in turn.")] = 2,
    schemes: Annotated[str, typer.Option(help="https, http or both, parted by a comma.")] = "https,http",
    contestants: Annotated[str, typer.Option(help="Who takes part.")] = "ours,img2dataset,img2dataset_hashed_ca",
    fetch_concurrency: FetchConcurrency = 64,
    server_processes: Annotated[int, typer.Option(min=1, help="Processes that serve.")] = 1,
    slow: Annotated[bool, typer.Option("--slow", help="The servers send 60 kB/s over each connection.")] = False,
    json: Annotated[str, typer.Option(help="Write the medians to this file.")] = "",
) -> None:
    """Measure the fetcher against img2dataset, in turn, over servers that this command starts on loopback.

    img2dataset runs in an environment of its own, which uv makes in the user's cache folder at the first call.
    """
    from laion_coco_assets.bench.fetch_run import FetchBenchSettings, run_fetch_bench

    settings = FetchBenchSettings(
        count=count,
        peer_count=peer_count,
        rounds=rounds,
        schemes=tuple(filter(None, schemes.split(","))),
        contestants=tuple(filter(None, contestants.split(","))),
        concurrency=fetch_concurrency,
        server_processes=server_processes,
        slow=slow,
        json=Path(json) if json else None,
    )
    with interruptible("nothing was measured; begin again"):
        run_fetch_bench(settings, out, err)


@app.command("instance")
def instance(
    shards: Annotated[int, typer.Option(help="Shards in the instance, all of them fetched.")] = 60_000,
    published: Annotated[int, typer.Option(help="How many of them went through all stages.")] = 11_000,
    parts: Annotated[str, typer.Option(help="Only some of: definitions,ticks,commands,pages,backfill.")] = "",
    backfill: Annotated[int, typer.Option(min=1, help="Shards of the backfill.")] = 5000,
    folder: Annotated[str, typer.Option(help="An empty folder to make it in and leave it; else a temporary one.")] = "",
    json: Annotated[str, typer.Option(help="Write the figures to this file.")] = "",
) -> None:
    """Measure Dagster with as many shards as a data set has: loading, ticks, pages, a backfill's submission.

    One shard of the demo is run; its records and files are copied under the other shards' names. No run is started.
    """
    from laion_coco_assets.simulation.run import InstanceBenchSettings, run_instance_bench

    settings = InstanceBenchSettings(
        shards=shards,
        published=published,
        parts=tuple(filter(None, parts.split(","))),
        backfill=backfill,
        folder=Path(folder) if folder else None,
        json=Path(json) if json else None,
    )
    with interruptible("nothing was measured; begin again"):
        run_instance_bench(settings, out, err)


def _numbers(flag: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"{flag}: must be numbers above zero parted by commas, not {text!r}")
    return tuple(int(part) for part in parts)
