"""`laion-coco demo`: the whole pipeline on the embedded corpus, offline, and what it came to."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from laion_coco_assets.cli.terminal import reasons_table, run_and_report
from laion_coco_assets.demo.report import DemoReport, build_report, true_captions
from laion_coco_assets.demo.resources import demo_resources, write_demo_source
from laion_coco_assets.errors import UserError
from laion_coco_assets.evaluation.gallery import gallery
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.source import list_sources
from laion_coco_assets.store.store import ShardStore

_GALLERY_SAMPLES = 60


def run_demo(data_dir: str, samples: int, out: Console, err: Console) -> int:
    """Run every stage on `samples` rows of the corpus; print and write the report. Returns the exit code.

    Raises:
        UserError: `data_dir` is not local, or holds a corpus of another size.
    """
    folder = Path(data_dir)
    if "://" in data_dir:
        raise UserError(f"--data-dir {data_dir}: the demo writes to a local folder")
    settings = Settings(profile="demo", data_dir=data_dir)
    source = Path(settings.source_or_default)
    write_demo_source(source, samples)
    shards = list_sources(str(source))
    rows = sum(each.rows for each in shards.values())
    if rows != samples:
        raise UserError(
            f"{source} holds a corpus of {rows} rows, not {samples}: name another --data-dir, or run with --samples {rows}"
        )
    code = run_and_report(settings, list(shards), out, err, demo_resources(settings, samples))
    if code:
        return code
    store = ShardStore(data_dir)
    report = build_report(store, shards, folder / "truth")
    report.write(folder / "demo_report.json")
    page = gallery(
        store,
        shards,
        title="laion-coco demo",
        intro="Pictures of made-up scenes, captioned and ranked by tiny models trained on others of their kind: "
        "what is called ViT-L/14 and RN50x64 here are stand-ins for those models.",
        samples=_GALLERY_SAMPLES,
        notes=true_captions(folder / "truth"),
    )
    (folder / "gallery.html").write_text(page, encoding="utf-8")
    _print(report, folder, out)
    return 0


def _print(report: DemoReport, folder: Path, out: Console) -> None:
    out.print(reasons_table(Counter(report.rejected), report.rows))
    table = Table(title="Captions that name the right objects, colours, counts and relation", title_justify="left")
    table.add_column("caption")
    table.add_column("right", justify="right")
    table.add_column("")
    lines = {
        "alt text": report.accuracy.alt_text,
        "one random candidate of BLIP's 40": report.accuracy.random_candidate,
        "best of 40 by the ViT-L/14 stand-in": report.accuracy.clip_l_top1,
        "final: best of those five by the RN50x64 stand-in": report.accuracy.final,
    }
    for name, share in lines.items():
        table.add_row(name, f"{share:.1%}", "█" * round(share * 30))
    out.print(table)
    places = {
        "published/": "the data set: LAION-COCO's columns and every score; README.md is its card",
        "ledger/": "what became of each source row, with its reason",
        "gallery.html": "pictures and their captions, to look at in a browser",
        "demo_report.json": "the figures above",
        "fetched_images/ … rn50x64_final/": "what each stage made",
        "source/, truth/": "the corpus' URL shards, and what is really in each picture",
    }
    out.print(f"\nEverything is in {escape(str(folder))}/", highlight=False, soft_wrap=True)
    for name, what in places.items():
        out.print(f"  {name:<34}{what}", highlight=False, soft_wrap=True)
    out.print(
        f"\n[dim]laion-coco check --data-dir {escape(str(folder))} runs the rules again; "
        f"LAION_COCO_DATA_DIR={escape(str(folder))} dg dev shows the stages in a browser.[/]",
        highlight=False,
        soft_wrap=True,
    )
