"""`laion-coco bench`: the engine, measured on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from laion_coco_assets.cli.console import err, interruptible, out
from laion_coco_assets.cli.options import Device, Dtype
from laion_coco_assets.errors import UserError


def bench(
    profile: Annotated[str, typer.Option(help="Measure a profile's models; without it, random weights.")] = "",
    size: Annotated[str, typer.Option(help="Size of the random models: full (the published sizes) or small.")] = "full",
    images: Annotated[
        str,
        typer.Option(help="A folder of images, shrunk to 640 pixels at the longer side; without it, images are drawn."),
    ] = "",
    count: Annotated[int, typer.Option(min=1, help="Images that the engine gets each round.")] = 8,
    plain_count: Annotated[int, typer.Option(min=1, help="Images that the plain pipeline gets.")] = 4,
    worker_count: Annotated[int, typer.Option(min=1, help="Images that the worker's procedure gets.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each pipeline is measured, in turn.")] = 2,
    device: Device = "auto",
    dtype: Dtype = "auto",
    baseline_dtype: Annotated[str, typer.Option(help="The baselines' dtype; without it, --dtype.")] = "",
    batch_size: Annotated[int, typer.Option(min=0, help="The engine's batch size; 0: the engine picks it.")] = 0,
    baseline_batch_size: Annotated[
        int, typer.Option(min=0, help="The plain pipeline's batch size; 0: the fastest.")
    ] = 0,
    sweep: Annotated[str, typer.Option(help="Batch sizes of the engine to tabulate, such as 16,64,256.")] = "",
    baseline_sweep: Annotated[str, typer.Option(help="The same for the plain pipeline; the best is then used.")] = "",
    pipelines: Annotated[str, typer.Option(help="Pipelines to measure; engine must be one.")] = "engine,plain,worker",
    json: Annotated[str, typer.Option(help="Write the figures to this file.")] = "",
) -> None:
    """Measure the engine against the plain pipeline and the original worker's procedure, in turn, on this machine.

    Full-size models with random weights need no download, but 16 GB of memory in float32. See docs/PERFORMANCE.md.
    """
    from laion_coco_assets.bench.benchmark import BenchSettings, run_bench
    from laion_coco_assets.bench.measured_models import Size

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
    with interruptible("nothing was measured; start again"):
        run_bench(settings, out, err)


def _numbers(flag: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"{flag}: must be numbers above zero, separated by commas, not {text!r}")
    return tuple(int(part) for part in parts)
