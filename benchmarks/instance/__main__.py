"""`python -m benchmarks.instance`: the command and its flags."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.instance.instance_benchmark import InstanceBenchSettings, run_instance_bench
from laion_coco_assets.cli.console import err, interruptible, out, run_app

app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def instance(
    shards: Annotated[int, typer.Option(help="Shards in the instance. All are fetched.")] = 60_000,
    published: Annotated[int, typer.Option(help="How many of them have passed all stages.")] = 11_000,
    parts: Annotated[str, typer.Option(help="Measure only these of definitions,ticks,commands,pages,backfill.")] = "",
    backfill: Annotated[int, typer.Option(min=1, help="How many shards the backfill has.")] = 5000,
    folder: Annotated[
        str, typer.Option(help="An empty folder for the instance, which is kept. Default: a temporary folder.")
    ] = "",
    json: Annotated[str, typer.Option(help="Write the figures to this file.")] = "",
) -> None:
    """Measure Dagster with as many shards as a large data set: loading, ticks, commands, pages, a backfill's submission.

    One shard of the demo is run. Its records and files are copied for all other shards. No further run is started.
    docs/OPERATIONS.md, "Scale", has results.
    """
    settings = InstanceBenchSettings(
        shards=shards,
        published=published,
        parts=tuple(filter(None, parts.split(","))),
        backfill=backfill,
        folder=Path(folder) if folder else None,
        json=Path(json) if json else None,
    )
    with interruptible("nothing was measured; start again"):
        run_instance_bench(settings, out, err)


def main() -> None:
    """Run the command in `sys.argv`."""
    run_app(app)


if __name__ == "__main__":
    main()
