"""`laion-coco demo`: the whole pipeline on the embedded corpus, offline, and how accurate its captions are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from laion_coco_assets.cli.console import interruptible, out
from laion_coco_assets.cli.options import takes_settings
from laion_coco_assets.errors import UserError
from laion_coco_assets.settings import Settings

if TYPE_CHECKING:
    from laion_coco_assets.demo.demo_report import DemoReport
    from laion_coco_assets.store.store import ShardStore

_GALLERY_SAMPLES: Final = 60
_FILES: Final = {
    "published/": "the data set: LAION-COCO's columns and every score; README.md is its card",
    "ledger/": "what became of each source row, with its reason",
    "gallery.html": "pictures and their captions, to look at in a browser",
    "demo_report.json": "the figures above",
    "fetched_images/ … rn50x64_final/": "what each stage made",
    "source/, truth/": "the corpus' URL shards, and what is really in each picture",
}


@takes_settings("demo", data_dir="data/demo")  # the table's default profile is the demo's
def demo(
    settings: Settings,
    samples: Annotated[int, typer.Option(min=20, help="Source rows, over two shards.")] = 200,
) -> None:
    """Run every stage on the embedded corpus, offline, with tiny models trained for it.

    A server on this machine's loopback serves drawn pictures as the web would, failures included. At the end, tables show
    what became of every row, and how accurate the captions are.
    """
    with interruptible():
        raise typer.Exit(_run_demo(settings, samples))


def _run_demo(settings: Settings, samples: int) -> int:
    """Run every stage on `samples` rows of the corpus; print and write the report. Returns the exit code.

    Raises:
        UserError: the data folder is not local, or holds a corpus of another size.
    """
    from laion_coco_assets.cli.run import run_and_report
    from laion_coco_assets.demo.demo_report import build_report
    from laion_coco_assets.store.store import ShardStore

    shards = _corpus_shards(settings, samples)
    code = run_and_report(settings, shards)
    if code:
        return code
    folder = Path(settings.data_dir)
    store = ShardStore(settings.data_dir)
    report = build_report(store, shards, folder / "truth")
    report.write(folder / "demo_report.json")
    _write_gallery(store, shards, folder)
    _print_report(report)
    _print_files(folder)
    return 0


def _corpus_shards(settings: Settings, samples: int) -> list[str]:
    """The corpus' shards. Writes them if they do not exist."""
    from laion_coco_assets.demo.resources import write_demo_source
    from laion_coco_assets.sources.listing import list_sources

    if "://" in settings.data_dir:
        raise UserError(f"--data-dir {settings.data_dir}: the demo writes to a local folder")
    source = Path(settings.source_or_default)
    write_demo_source(source, samples)
    shards = list_sources(str(source))
    rows = sum(shard.rows for shard in shards.values())
    if rows != samples:
        raise UserError(
            f"{source} holds a corpus of {rows} rows, not {samples}: name another --data-dir, or run with --samples {rows}"
        )
    return list(shards)


def _write_gallery(store: ShardStore, shards: Sequence[str], folder: Path) -> None:
    from laion_coco_assets.contract.profile_files import load_profile
    from laion_coco_assets.demo.demo_report import true_captions
    from laion_coco_assets.evaluation.gallery import gallery

    page = gallery(
        store,
        shards,
        title="laion-coco demo",
        intro="Pictures of made-up scenes, captioned and ranked by tiny models that were trained on other such scenes: "
        "the rankers stand in for CLIP ViT-L/14 and RN50x64.",
        rankers=load_profile("demo").ranker_labels,
        samples=_GALLERY_SAMPLES,
        notes=true_captions(folder / "truth"),
    )
    (folder / "gallery.html").write_text(page, encoding="utf-8")


def _print_report(report: DemoReport) -> None:
    from laion_coco_assets.cli.tables import accuracy_table, reasons_table

    shares = {
        "alt text": report.accuracy.alt_text,
        "one random candidate of BLIP's 40": report.accuracy.random_candidate,
        "best of 40 by the ViT-L/14 stand-in": report.accuracy.clip_l_top1,
        "final: best of those five by the RN50x64 stand-in": report.accuracy.final,
    }
    out.print(reasons_table(report.rejected, report.rows))
    out.print(accuracy_table(shares))


def _print_files(folder: Path) -> None:
    out.print(f"\nEverything is in {escape(str(folder))}/", highlight=False, soft_wrap=True)
    for name, what in _FILES.items():
        out.print(f"  {name:<34}{what}", highlight=False, soft_wrap=True)
    out.print(
        f"\n[dim]laion-coco check --data-dir {escape(str(folder))} runs the rules again; "
        f"LAION_COCO_DATA_DIR={escape(str(folder))} dg dev shows the stages in a browser.[/]",
        highlight=False,
        soft_wrap=True,
    )
