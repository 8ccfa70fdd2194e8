"""`python -m benchmarks.fetch`: the command and its flags."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.fetch.fetch_benchmark import FetchBenchSettings, run_fetch_bench
from laion_coco_assets.cli.console import err, interruptible, out, run_app
from laion_coco_assets.cli.options import option

app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def fetch(
    count: Annotated[int, typer.Option(min=1, help="Images for our fetcher in each round.")] = 2000,
    peer_count: Annotated[
        int, typer.Option(min=1, help="Images for each of the others in each round; they are slower.")
    ] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="How many times each is measured, in turn.")] = 2,
    schemes: Annotated[str, typer.Option(help="https, http, or both separated by a comma.")] = "https,http",
    contestants: Annotated[
        str, typer.Option(help="The fetchers to measure, separated by commas.")
    ] = "ours,img2dataset,img2dataset_hashed_ca",
    fetch_concurrency: Annotated[int, option("fetch_concurrency")] = 64,
    server_processes: Annotated[int, typer.Option(min=1, help="How many processes serve the images.")] = 1,
    slow: Annotated[
        bool, typer.Option("--slow", help="Let the servers send only 60 kB/s over each connection.")
    ] = False,
    json: Annotated[str, typer.Option(help="Write the medians to this file.")] = "",
) -> None:
    """Measure the fetcher against img2dataset, in turn, over servers that this command starts on loopback.

    img2dataset runs in its own environment. uv creates it in the user's cache folder on the first call.
    docs/FETCHING.md has the method and results.
    """
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
    with interruptible("nothing was measured; start again"):
        run_fetch_bench(settings, out, err)


def main() -> None:
    """Run the command in `sys.argv`."""
    run_app(app)


if __name__ == "__main__":
    main()
