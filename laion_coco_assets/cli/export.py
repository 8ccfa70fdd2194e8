"""`laion-coco export`: WebDataset tars, one per shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from laion_coco_assets.cli.bars import Bars
from laion_coco_assets.cli.console import err, interruptible, out, report_error, report_failed
from laion_coco_assets.cli.options import Shards, select, takes_settings
from laion_coco_assets.errors import StoreError, UserError
from laion_coco_assets.settings import Settings
from laion_coco_assets.wording import counted

if TYPE_CHECKING:
    from laion_coco_assets.contract.stage_names import StageName
    from laion_coco_assets.store.store import ShardStore

ExportedStage = Literal["published", "fetched_images"]


@takes_settings("export")
def export(
    settings: Settings,
    out_dir: Annotated[str, typer.Option("--out", help="Folder or fsspec URL that the tars are written to.")],
    shards: Shards = None,
    stage: Annotated[
        ExportedStage,
        typer.Option(help="published; or fetched_images: all images that were fetched, with TEXT as the caption."),
    ] = "published",
) -> None:
    """Write what is published as WebDataset tars, one per shard: images as they were served, captions, rows.

    A sample is <sample_id>.jpg (or png, webp, gif, avif), .txt with the top caption and .json with the published row.
    With --stage fetched_images it is what `laion-coco fetch` left: .txt has the source's TEXT, .json the fetched row,
    and no removal list is applied. A folder holds tars of one stage: a second stage needs another --out, and is refused
    before anything is written. Tars that are complete and unchanged are skipped.

    Exit codes: 0 done, 1 some shards failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.contract.stage_names import StageName
    from laion_coco_assets.store.store import ShardStore

    data_dir = settings.data_dir
    store, target = ShardStore(data_dir), ShardStore(out_dir)
    known = store.shards(StageName(stage))
    if not known and stage == "published":
        hint = "; --stage fetched_images exports what was fetched" if store.shards(StageName.FETCHED_IMAGES) else ""
        raise UserError(f"{data_dir}: nothing is published in it; name the folder that `laion-coco run` wrote to{hint}")
    if not known:
        raise UserError(f"{data_dir}: nothing is fetched in it; name the folder that `laion-coco fetch` wrote to")
    with interruptible("complete tars are kept; the same command resumes"):
        raise typer.Exit(_export_and_report(store, StageName(stage), select(known, shards, data_dir), target))


def _export_and_report(store: ShardStore, stage: StageName, shards: Sequence[str], target: ShardStore) -> int:
    """Write the shards' tars under progress bars, say what became of each; returns the exit code: 1 when one failed.

    Raises:
        StoreError: the target holds tars of another stage, or cannot be read; nothing was written.
    """
    from laion_coco_assets.contract.stage_names import StageName
    from laion_coco_assets.publishing.webdataset import export_fetched, export_shard, keep_one_stage

    keep_one_stage(target, stage)
    export_one = export_fetched if stage is StageName.FETCHED_IMAGES else export_shard
    failed, samples = [], 0
    with Bars(err, len(shards)) as bars:
        for shard in shards:
            try:
                made = export_one(store, shard, target, bars)
            except StoreError as error:
                failed.append(shard)
                report_error(shard, str(error))
            else:
                samples += made.samples
                if not made.samples:
                    out.print(f"{shard}: nothing to export, no tar", highlight=False, markup=False)
                elif not made.written:
                    out.print(f"{shard}: complete and unchanged", highlight=False, markup=False)
            bars.shard_done()
    exported = f"{counted(samples, 'sample')} of {counted(len(shards) - len(failed), 'shard')} in {target.root}"
    out.print(exported, highlight=False, markup=False)
    return report_failed(failed, len(shards))
