"""`laion-coco`: builds the terminal's app from its commands, one per module, and runs it."""

import typer

from laion_coco_assets.cli.bench import bench
from laion_coco_assets.cli.check import check
from laion_coco_assets.cli.clean import clean
from laion_coco_assets.cli.console import run_app
from laion_coco_assets.cli.demo import demo
from laion_coco_assets.cli.export import export
from laion_coco_assets.cli.fetch import fetch
from laion_coco_assets.cli.run import run
from laion_coco_assets.cli.shards import app as shards_app

app = typer.Typer(
    name="laion-coco",
    help="Recaption URL shards as LAION-COCO was made: BLIP writes 40 captions per image, two CLIPs rank them.\n\n"
    "Start with [bold]laion-coco demo[/]: it needs no network, no GPU and no data.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, run, fetch, export, check, clean, bench):
    app.command()(command)
app.add_typer(shards_app, name="shards")


def main() -> None:
    """The entry point of `laion-coco`."""
    run_app(app)
