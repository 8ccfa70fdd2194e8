"""`laion-coco clean`: files of a data folder that nothing needs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from laion_coco_assets.cli.console import err, out
from laion_coco_assets.cli.options import takes_settings
from laion_coco_assets.errors import UserError
from laion_coco_assets.printable import printable
from laion_coco_assets.settings import Settings

if TYPE_CHECKING:
    from laion_coco_assets.store.store import ShardStore


@takes_settings("clean")
def clean(
    settings: Settings,
    against: Annotated[
        str, typer.Option("--profile", help="List stage files of other settings than this profile's, too.")
    ] = "",
    days: Annotated[
        float,
        typer.Option(
            min=0, help="List only files that were not written to for this many days; of removed shards, all files."
        ),
    ] = 7.0,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete what is listed; without this flag nothing is deleted.")
    ] = False,
) -> None:
    """List the files of a data folder that nothing needs any more, with sizes; --yes deletes them.

    These are: checkpoints that no run resumed, temporary files of processes that died, and files of removed shards.
    Published files and their ledgers are never touched, nor is a shard that a process on this machine is working on.

    Exit codes: 0 done, 1 something was in use and was kept, 2 a mistake in the call.
    """
    from laion_coco_assets.assets import fingerprints
    from laion_coco_assets.contract.profile_files import load_profile
    from laion_coco_assets.store.stage_folders import store_as_found

    wanted = fingerprints(load_profile(against)) if against else None
    store = store_as_found(settings.data_dir)
    if not store.root.is_dir():
        raise UserError(f"{settings.data_dir}: no such folder")
    raise typer.Exit(_clean_and_report(store, days, wanted, yes=yes))


def _clean_and_report(store: ShardStore, days: float, wanted: Mapping[str, str] | None, *, yes: bool) -> int:
    """List what can go, and with `yes` delete it; returns the exit code: 1 when something was in use."""
    from laion_coco_assets.store.leftovers import delete, leftovers

    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    in_use = 0
    for leftover in leftovers(store, time.time() - days * 86_400, wanted):
        where = printable(leftover.path.path.removeprefix(store.root.path).lstrip("/"))
        line = f"{_size(leftover.bytes):>10}  {leftover.kind:<15} {where}"
        if yes and not delete(store, leftover):
            in_use += 1
            err.print(f"{line}: in use, kept", highlight=False, markup=False, soft_wrap=True)
            continue
        out.print(line, highlight=False, markup=False, soft_wrap=True)
        counts[leftover.kind] += 1
        sizes[leftover.kind] += leftover.bytes
    for kind, count in counts.items():
        out.print(f"{kind}: {count:,}, {_size(sizes[kind])}", highlight=False, markup=False)
    verb = "deleted" if yes else "to delete; nothing was deleted, --yes does it"
    out.print(f"{_size(sizes.total())} {verb}" if counts else "nothing to delete", highlight=False, markup=False)
    return 1 if in_use else 0


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
