"""`laion-coco`: the same assets and checks at a terminal. Parses, calls, prints; what it calls lives elsewhere."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from laion_coco_assets.errors import UserError
from laion_coco_assets.printable import harmless

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
shards_app = typer.Typer(help="Shards as partitions of the Dagster instance in DAGSTER_HOME.", no_args_is_help=True)
app.add_typer(shards_app, name="shards")
bench_app = typer.Typer(invoke_without_command=True)
app.add_typer(bench_app, name="bench")

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
    str, typer.Option(help="URLs, sample_ids and domains that are not published: a text or parquet file, or a folder.")
]
Device = Annotated[str, typer.Option(help="auto (CUDA, MPS, CPU in this order), cuda, cuda:1, mps or cpu.")]
Profile = Annotated[str, typer.Option(help="A shipped profile (laion-coco, laion-idle-cap, demo) or a TOML file.")]
FetchConcurrency = Annotated[int, typer.Option(min=1, help="Requests in flight.")]
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

    with _interruptible():
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
    host_spacing: HostSpacing = 0.0,
    allow_network: AllowNetwork = None,
    removals: Removals = "",
    max_samples: MaxSamples = None,
) -> None:
    """Run every stage, and its checks, for the shards of a source.

    What is complete and unchanged is skipped; Ctrl-C keeps checkpoints, and the same command goes on behind them.

    Exit codes: 0 done, 1 some shards or blocking checks failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.shards.source import list_sources
    from laion_coco_assets.terminal import run_and_report

    settings = Settings.from_flags(
        profile=profile,
        data_dir=data_dir,
        source=source,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        fetch_concurrency=fetch_concurrency,
        host_spacing=host_spacing,
        allow_networks=tuple(allow_network or ()),
        removals=removals,
    )
    found = list_sources(source)
    with _interruptible():
        selected = _selected(list(found), shards, source)
        raise typer.Exit(run_and_report(settings, selected, out, err, max_samples=max_samples))


@app.command()
def fetch(
    source: Source,
    data_dir: DataDir,
    profile: Profile = "laion-coco",
    shards: Shards = None,
    fetch_concurrency: FetchConcurrency = 64,
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
    from laion_coco_assets.fetching.reasons import parse_reasons
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.shards.schemas import Stage
    from laion_coco_assets.shards.source import list_sources
    from laion_coco_assets.shards.store import ShardStore
    from laion_coco_assets.terminal import fetch_and_report

    settings = Settings.from_flags(
        profile=profile,
        data_dir=data_dir,
        source=source,
        fetch_concurrency=fetch_concurrency,
        host_spacing=host_spacing,
        allow_networks=tuple(allow_network or ()),
    )
    reasons = sorted(reason.value for reason in parse_reasons(retry or ()))
    found = list(list_sources(source))
    where = source
    if reasons:
        fetched = set(ShardStore(data_dir).shards(Stage.FETCHED_IMAGES))
        found = [shard for shard in found if shard in fetched]
        where = f"{data_dir}, fetched from {source}"
        if not found:
            raise UserError(f"--retry: no shard of {source} is in {data_dir} yet; fetch them first")
    with _interruptible():
        selected = _selected(found, shards, where)
        raise typer.Exit(fetch_and_report(settings, selected, reasons, out, err, max_samples=max_samples))


@app.command()
def export(
    data_dir: DataDir,
    out_dir: Annotated[str, typer.Option("--out", help="Folder or fsspec URL that the tars are written to.")],
    shards: Shards = None,
) -> None:
    """Write what is published as WebDataset tars, one a shard: images as they were served, captions, rows.

    A sample is <sample_id>.jpg (or png, webp, gif, avif), .txt with the top caption and .json with the published row.
    What is complete and unchanged is skipped.

    Exit codes: 0 done, 1 some shards failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.shards.schemas import Stage
    from laion_coco_assets.shards.store import ShardStore
    from laion_coco_assets.terminal import export_and_report

    store, target = ShardStore(data_dir), ShardStore(out_dir)
    there = store.shards(Stage.PUBLISHED)
    if not there:
        raise UserError(f"{data_dir}: nothing published there; name the folder that `laion-coco run` wrote to")
    with _interruptible("tars that are complete stay; the same command goes on behind them"):
        raise typer.Exit(export_and_report(store, _selected(there, shards, data_dir), target, out, err))


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
    from laion_coco_assets.publishing.removals import RemovalList
    from laion_coco_assets.shards.fingerprint import fingerprints
    from laion_coco_assets.shards.profile import load_profile
    from laion_coco_assets.shards.schemas import SCHEMAS
    from laion_coco_assets.shards.store import ShardStore
    from laion_coco_assets.terminal import checks_table, offender_lines, skipped_lines

    store = ShardStore(data_dir)
    there = sorted({shard for stage in SCHEMAS for shard in store.shards(stage)})
    if not there:
        raise UserError(f"{data_dir}: no stage files there; name the folder that `laion-coco run` wrote to")
    selected = _selected(there, shards, data_dir)
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
        f"{len(rules)} rules over {len(selected)} shards: {passed} passed, {len(blocking)} failed, "
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
        float, typer.Option(min=0, help="Only checkpoints and temporary files that were not written to for so long.")
    ] = 7.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete it; without, it is listed only.")] = False,
) -> None:
    """List what a data folder holds and nothing needs any more, with sizes; --yes deletes it.

    That is: checkpoints that nobody went on with, temporary files of processes that died, and files of removed shards.
    What is published, and its ledger, is never touched, nor what a process on this machine is writing.

    Exit codes: 0 done, 1 something was in use and was left, 2 a mistake in the call.
    """
    from laion_coco_assets.shards.fingerprint import fingerprints
    from laion_coco_assets.shards.profile import load_profile
    from laion_coco_assets.shards.store import ShardStore
    from laion_coco_assets.terminal import clean_and_report

    store = ShardStore(data_dir)
    if not store.root.is_dir():
        raise UserError(f"{data_dir}: no such folder")
    wanted = fingerprints(load_profile(profile)) if profile else None
    raise typer.Exit(clean_and_report(store, days, wanted, out, err, yes=yes))


@shards_app.command("add")
def shards_add(
    source: Annotated[str, typer.Option(help="Where the shards lie; LAION_COCO_SOURCE unless given.")] = "",
    shards: Shards = None,
) -> None:
    """Register the source's shards as partitions, as the sensor `new_shards` does; removed ones when they are named."""
    from laion_coco_assets.assets.stage import SHARDS
    from laion_coco_assets.definitions import build_defs
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.shards.removed import note_added, removed_shards

    settings = Settings.from_environment()
    if source:
        settings = settings.model_copy(update={"source": source})
    resources = build_defs(settings).resources or {}
    store = resources["store"].get()
    selected = _selected(list(resources["source"].shards()), shards, settings.source_or_default)
    left_out = set() if shards else removed_shards(store).intersection(selected)
    selected = [key for key in selected if key not in left_out]
    with _instance() as instance:
        note_added(store, selected)
        registered = set(instance.get_dynamic_partitions(SHARDS.name or ""))
        new = [key for key in selected if key not in registered]
        instance.add_dynamic_partitions(SHARDS.name or "", new)
    out.print(f"{len(new)} shards added, {len(selected) - len(new)} were registered already", highlight=False)
    if left_out:
        out.print(f"{len(left_out)} were removed before and are left out; name them to add them again", highlight=False)


@shards_app.command("list")
def shards_list() -> None:
    """List the registered shards, one a line."""
    from laion_coco_assets.assets.stage import SHARDS

    with _instance() as instance:
        for key in instance.get_dynamic_partitions(SHARDS.name or ""):
            out.print(key, highlight=False, markup=False)


@shards_app.command("remove")
def shards_remove(
    shards: Annotated[list[str], typer.Argument(help="Shards by key (the file's stem).")],
    files: Annotated[
        bool, typer.Option("--files", help="Delete their stage files, ledger and checkpoints too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before files are deleted.")] = False,
) -> None:
    """Unregister shards; the sensor leaves them out from then on, `shards add --shards` takes them back.

    The source is never touched. Without --files what was made of a shard stays, published rows included.
    """
    from laion_coco_assets.assets.stage import SHARDS
    from laion_coco_assets.definitions import build_defs
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.shards.removed import delete_files, note_removed, shard_files

    settings = Settings.from_environment()
    store = (build_defs(settings).resources or {})["store"].get()
    keys = list(dict.fromkeys(shards))
    with _instance() as instance:
        registered = set(instance.get_dynamic_partitions(SHARDS.name or ""))
        there = {key: len(list(shard_files(store, key))) for key in keys}
        unknown = [key for key in keys if key not in registered and not there[key]]
        if unknown:
            raise UserError(
                f"{', '.join(unknown)}: neither registered nor in {settings.data_dir}; see laion-coco shards list"
            )
        if files and not yes:
            typer.confirm(f"Delete {sum(there.values())} files and checkpoints of {len(keys)} shards?", abort=True)
        note_removed(store, keys)
        for key in keys:
            instance.delete_dynamic_partition(SHARDS.name or "", key)
            left = f"{there[key]} files stay in {settings.data_dir}" if there[key] else "it has no files"
            left = f"{delete_files(store, key)} files and checkpoints deleted" if files else left
            out.print(f"{key}: removed; {left}", highlight=False, markup=False, soft_wrap=True)


@bench_app.callback()
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
    with _interruptible("nothing was measured; begin again"):
        run_bench(settings, out, err)


@bench_app.command("fetch")
def bench_fetch(
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
    with _interruptible("nothing was measured; begin again"):
        run_fetch_bench(settings, out, err)


@bench_app.command("instance")
def bench_instance(
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
    with _interruptible("nothing was measured; begin again"):
        run_instance_bench(settings, out, err)


def _numbers(flag: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"{flag}: must be numbers above zero parted by commas, not {text!r}")
    return tuple(int(part) for part in parts)


def _instance() -> Any:
    import dagster as dg

    home = Path(os.environ.get("DAGSTER_HOME", ""))
    if not home.is_absolute() or not home.is_dir():
        raise UserError(
            f"DAGSTER_HOME is {str(home) if home.name else 'not set'}: it must be the absolute path of an existing folder, "
            'the same one for `dg dev`, as in: mkdir -p .dagster; export DAGSTER_HOME="$PWD/.dagster"'
        )
    return dg.DagsterInstance.get()


def _selected(there: Sequence[str], wanted: Sequence[str] | None, where: str) -> list[str]:
    names = [name for each in wanted or () for name in each.split(",") if name]
    unknown = [name for name in names if name not in there]
    if unknown:
        some = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
        raise UserError(f"--shards: {', '.join(unknown)} not in {where}; it has {len(there)}: {some}")
    return [name for name in there if name in names] if names else list(there)


@contextmanager
def _interruptible(left: str = "what was done is kept; the same command goes on behind it") -> Iterator[None]:
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


def main() -> None:
    """The entry point: a user's mistake is one message and exit code 2, never a traceback."""
    try:
        app()
    except UserError as error:
        err.print(f"[red]error:[/] {escape(harmless(str(error)))}", highlight=False, soft_wrap=True)
        sys.exit(2)
