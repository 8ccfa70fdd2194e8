"""`laion-coco`: the same assets and checks at a terminal. Parses, calls, prints; what it calls lives elsewhere."""

import sys
from typing import Annotated, Literal

import typer
from rich.markup import escape

from laion_coco_assets.cli.bench import app as bench_app
from laion_coco_assets.cli.options import (
    AllowNetwork,
    DataDir,
    Device,
    Dtype,
    FetchConcurrency,
    FetchLanes,
    HostSpacing,
    MaxSamples,
    Profile,
    Removals,
    Shards,
    Source,
    err,
    interruptible,
    out,
    select,
)
from laion_coco_assets.cli.shards import app as shards_app
from laion_coco_assets.errors import UserError
from laion_coco_assets.printable import harmless
from laion_coco_assets.wording import counted

app = typer.Typer(
    name="laion-coco",
    help="Recaption URL shards as LAION-COCO was made: BLIP writes 40 captions an image, two CLIPs rank them.\n\n"
    "Start with [bold]laion-coco demo[/]: it needs no network, no GPU and no data.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ExportedStage = Literal["published", "fetched_images"]

app.add_typer(shards_app, name="shards")
app.add_typer(bench_app, name="bench")


@app.command()
def demo(
    data_dir: DataDir = "data/demo",
    samples: Annotated[int, typer.Option(min=20, help="Source rows, over two shards.")] = 200,
) -> None:
    """Run every stage on the embedded corpus, offline, with tiny models trained for it.

    A server on this machine's loopback serves drawn pictures as the web would, failures included. At the end stands
    what became of every row, and how accurate the captions are against the truth.
    """
    from laion_coco_assets.demo.demo import run_demo

    with interruptible():
        raise typer.Exit(run_demo(data_dir, samples, out, err))


@app.command()
def run(
    source: Source,
    data_dir: DataDir,
    profile: Profile = "laion-coco",
    shards: Shards = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch_size: Annotated[
        int, typer.Option(min=0, help="Images that go through a model together; 0 picks itself from free memory.")
    ] = 0,
    fetch_concurrency: FetchConcurrency = 64,
    fetch_lanes: FetchLanes = 1,
    host_spacing: HostSpacing = 0.0,
    allow_network: AllowNetwork = None,
    removals: Removals = "",
    max_samples: MaxSamples = None,
) -> None:
    """Run every stage, and its checks, for the shards of a source.

    What is complete and unchanged is skipped; Ctrl-C keeps checkpoints, and the same command goes on behind them.

    Exit codes: 0 done, 1 some shards or blocking checks failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.cli.terminal import ask_for_contact, run_and_report
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.sources.source import list_sources

    settings = Settings.from_flags(
        profile=profile,
        data_dir=data_dir,
        source=source,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        fetch_concurrency=fetch_concurrency,
        fetch_lanes=fetch_lanes,
        host_spacing=host_spacing,
        allow_networks=tuple(allow_network or ()),
        removals=removals,
    )
    found = list_sources(source)
    with interruptible():
        selected = select(list(found), shards, source)
        ask_for_contact(profile, found[selected[0]], err)
        raise typer.Exit(run_and_report(settings, selected, out, err, max_samples=max_samples))


@app.command()
def fetch(
    source: Source,
    data_dir: DataDir,
    profile: Profile = "laion-coco",
    shards: Shards = None,
    fetch_concurrency: FetchConcurrency = 64,
    fetch_lanes: FetchLanes = 1,
    host_spacing: HostSpacing = 0.0,
    allow_network: AllowNetwork = None,
    retry: Annotated[
        list[str] | None,
        typer.Option(
            help="Ask again only for rows with this reason, in shards that were fetched: transient (all that may go "
            "better on another day), http_4xx, timeout, …; repeat it, or part several by commas."
        ),
    ] = None,
    max_samples: MaxSamples = None,
) -> None:
    """Fetch the images of a source's shards, and nothing else: the first stage of `run`, with its checks.

    With --retry, all other rows stay as they are, and later stages run again for what has changed.

    Exit codes: 0 done, 1 some shards or blocking checks failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.cli.terminal import ask_for_contact, fetch_and_report
    from laion_coco_assets.contract.reasons import parse_reasons
    from laion_coco_assets.contract.schemas import Stage
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.sources.source import list_sources
    from laion_coco_assets.store.store import ShardStore

    settings = Settings.from_flags(
        profile=profile,
        data_dir=data_dir,
        source=source,
        fetch_concurrency=fetch_concurrency,
        fetch_lanes=fetch_lanes,
        host_spacing=host_spacing,
        allow_networks=tuple(allow_network or ()),
    )
    reasons = sorted(reason.value for reason in parse_reasons(retry or ()))
    sources = list_sources(source)
    found = list(sources)
    where = source
    if reasons:
        fetched = set(ShardStore(data_dir).shards(Stage.FETCHED_IMAGES))
        found = [shard for shard in found if shard in fetched]
        where = f"{data_dir}, fetched from {source}"
        if not found:
            raise UserError(f"--retry: no shard of {source} is in {data_dir} yet; fetch them first")
    with interruptible():
        selected = select(found, shards, where)
        ask_for_contact(profile, sources[selected[0]], err)
        raise typer.Exit(fetch_and_report(settings, selected, reasons, out, err, max_samples=max_samples))


@app.command()
def export(
    data_dir: DataDir,
    out_dir: Annotated[str, typer.Option("--out", help="Folder or fsspec URL that the tars are written to.")],
    shards: Shards = None,
    stage: Annotated[
        ExportedStage,
        typer.Option(help="published, or fetched_images: all images that came, with TEXT as the caption."),
    ] = "published",
) -> None:
    """Write what is published as WebDataset tars, one a shard: images as they were served, captions, rows.

    A sample is <sample_id>.jpg (or png, webp, gif, avif), .txt with the top caption and .json with the published row.
    With --stage fetched_images it is of what `laion-coco fetch` left: .txt has the source's TEXT, .json the fetched row,
    and no removal list is heeded. A folder holds tars of one stage: a second stage needs another --out, and is refused
    before anything is written. What is complete and unchanged is skipped.

    Exit codes: 0 done, 1 some shards failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.cli.terminal import export_and_report
    from laion_coco_assets.contract.schemas import Stage
    from laion_coco_assets.store.store import ShardStore

    store, target = ShardStore(data_dir), ShardStore(out_dir)
    there = store.shards(Stage(stage))
    if not there and stage == "published":
        fetched = "; --stage fetched_images exports what was fetched" if store.shards(Stage.FETCHED_IMAGES) else ""
        raise UserError(f"{data_dir}: nothing published there; name the folder that `laion-coco run` wrote to{fetched}")
    if not there:
        raise UserError(f"{data_dir}: nothing fetched there; name the folder that `laion-coco fetch` wrote to")
    with interruptible("tars that are complete stay; the same command goes on behind them"):
        raise typer.Exit(export_and_report(store, Stage(stage), select(there, shards, data_dir), target, out, err))


@app.command()
def check(
    data_dir: DataDir,
    profile: Annotated[
        str, typer.Option(help="Hold the fingerprints against this profile's; without it, files against each other.")
    ] = "",
    shards: Shards = None,
    removals: Removals = "",
) -> None:
    """Check every rule over the stage files of a folder, for CI.

    Exit codes: 0 no blocking rule failed (warnings may have), 1 one did, 2 a mistake in the call.
    """
    from laion_coco_assets.checks.drift import Drift
    from laion_coco_assets.checks.results import Status
    from laion_coco_assets.checks.rules import Severity, all_rules
    from laion_coco_assets.checks.run import check_across, check_shard
    from laion_coco_assets.cli.terminal import checks_table, offender_lines, skipped_lines
    from laion_coco_assets.contract.fingerprint import fingerprints
    from laion_coco_assets.contract.profile import load_profile
    from laion_coco_assets.contract.schemas import SCHEMAS
    from laion_coco_assets.publishing.removal_list import RemovalList
    from laion_coco_assets.store.store import ShardStore

    store = ShardStore(data_dir)
    there = sorted({shard for stage in SCHEMAS for shard in store.shards(stage)})
    if not there:
        raise UserError(f"{data_dir}: no stage files there; name the folder that `laion-coco run` wrote to")
    selected = select(there, shards, data_dir)
    expected = fingerprints(load_profile(profile)) if profile else None
    removal_list = RemovalList.load(removals)
    rules = all_rules()
    drift = Drift(store)
    results = []
    for shard in selected:
        results += check_shard(store, shard, rules, expected, removal_list) + drift.check_shard(shard, rules)
    results += check_across(store, selected, rules)
    failed = [each for each in results if each.status == Status.FAILED]
    skipped = [each for each in results if each.status == Status.SKIPPED]
    if failed:
        out.print(checks_table(results))
        for line in offender_lines(results):
            typer.echo(line)  # as it is: rich would make blanks of the tabs
    for line in skipped_lines(results):
        out.print(f"[dim]{escape(line)}[/]", highlight=False, soft_wrap=True)
    blocking = [each for each in failed if each.rule.severity == Severity.ERROR]
    passed = len(results) - len(failed) - len(skipped)
    out.print(
        f"{len(rules)} rules over {counted(len(selected), 'shard')}: {passed} passed, {len(blocking)} failed, "
        f"{len(failed) - len(blocking)} warned, {len(skipped)} skipped",
        highlight=False,
    )
    raise typer.Exit(1 if blocking else 0)


@app.command()
def clean(
    data_dir: DataDir,
    profile: Annotated[
        str, typer.Option(help="Also stage files that were made with other settings than this profile's.")
    ] = "",
    days: Annotated[
        float, typer.Option(min=0, help="Only what was not written to for so long; of removed shards, all.")
    ] = 7.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete it; without, it is listed only.")] = False,
) -> None:
    """List what a data folder holds and nothing needs any more, with sizes; --yes deletes it.

    That is: checkpoints that nobody went on with, temporary files of processes that died, and files of removed shards.
    What is published, and its ledger, is never touched, nor a shard that a process on this machine is at.

    Exit codes: 0 done, 1 something was in use and was left, 2 a mistake in the call.
    """
    from laion_coco_assets.cli.terminal import clean_and_report
    from laion_coco_assets.contract.fingerprint import fingerprints
    from laion_coco_assets.contract.profile import load_profile
    from laion_coco_assets.store.store import ShardStore

    store = ShardStore(data_dir)
    if not store.root.is_dir():
        raise UserError(f"{data_dir}: no such folder")
    wanted = fingerprints(load_profile(profile)) if profile else None
    raise typer.Exit(clean_and_report(store, days, wanted, out, err, yes=yes))


def main() -> None:
    """The entry point: a user's mistake is one message and exit code 2, never a traceback."""
    try:
        app()
    except UserError as error:
        err.print(f"[red]error:[/] {escape(harmless(str(error)))}", highlight=False, soft_wrap=True)
        sys.exit(2)
