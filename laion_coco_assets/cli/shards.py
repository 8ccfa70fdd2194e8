"""`laion-coco shards`: the partitions of the Dagster instance, by hand."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from laion_coco_assets.cli.options import Shards, out, select
from laion_coco_assets.errors import UserError
from laion_coco_assets.wording import counted

app = typer.Typer(help="Shards as partitions of the Dagster instance in DAGSTER_HOME.", no_args_is_help=True)


@app.command("add")
def add_shards(
    source: Annotated[str, typer.Option(help="Where the shards lie; LAION_COCO_SOURCE unless given.")] = "",
    shards: Shards = None,
) -> None:
    """Register the source's shards as partitions, as the sensor `new_shards` does; removed ones when they are named."""
    from laion_coco_assets.definitions import build_defs
    from laion_coco_assets.orchestration.stage import SHARDS
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.store.removed_shards import note_added, removed_shards

    settings = Settings.from_environment()
    if source:
        settings = settings.model_copy(update={"source": source})
    resources = build_defs(settings).resources or {}
    store = resources["store"].get()
    selected = select(list(resources["source"].shards()), shards, settings.source_or_default)
    left_out = set() if shards else removed_shards(store).intersection(selected)
    selected = [key for key in selected if key not in left_out]
    with _instance() as instance:
        note_added(store, selected)
        registered = set(instance.get_dynamic_partitions(SHARDS.name or ""))
        new = [key for key in selected if key not in registered]
        instance.add_dynamic_partitions(SHARDS.name or "", new)
    out.print(
        f"{counted(len(new), 'shard')} added, {len(selected) - len(new)} were registered already", highlight=False
    )
    if left_out:
        out.print(f"{len(left_out)} were removed before and are left out; name them to add them again", highlight=False)


@app.command("list")
def list_shards() -> None:
    """List the registered shards, one a line."""
    from laion_coco_assets.orchestration.stage import SHARDS

    with _instance() as instance:
        keys = instance.get_dynamic_partitions(SHARDS.name or "")
    if keys:
        out.out("\n".join(keys), highlight=False)  # at once: tens of thousands, one by one, take seconds


@app.command("remove")
def remove_shards(
    shards: Annotated[list[str], typer.Argument(help="Shards by key (the file's stem).")],
    files: Annotated[
        bool, typer.Option("--files", help="Delete their stage files, ledger and checkpoints too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before files are deleted.")] = False,
) -> None:
    """Unregister shards; the sensor leaves them out until `shards add --shards` or a run takes them back.

    The source is never touched. Without --files what was made of a shard stays, published rows included.
    """
    from laion_coco_assets.definitions import build_defs
    from laion_coco_assets.orchestration.stage import SHARDS
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.store.removed_shards import delete_files, note_removed, shard_files

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
            typer.confirm(
                f"Delete {counted(sum(there.values()), 'file')} and checkpoints of {counted(len(keys), 'shard')}?",
                abort=True,
            )
        note_removed(store, keys)
        for key in keys:
            instance.delete_dynamic_partition(SHARDS.name or "", key)
            left = f"{there[key]} files stay in {settings.data_dir}" if there[key] else "it has no files"
            if files:
                left = f"{delete_files(store, key)} files and checkpoints deleted"
                _note_deleted(instance, key)
            out.print(f"{key}: removed; {left}", highlight=False, markup=False, soft_wrap=True)


def _note_deleted(instance: Any, shard: str) -> None:
    """Let the shard's materialisations, which Dagster keeps, count as stale: should it come back, it is made anew."""
    import dagster as dg

    from laion_coco_assets.contract.schemas import Stage

    for stage in Stage:
        asset = dg.AssetKey(stage.value)
        wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[shard])
        if instance.fetch_materializations(wanted, limit=1).records:
            said = "its file was deleted by `laion-coco shards remove`"
            tags = {"dagster/code_version": "deleted"}
            event = dg.AssetMaterialization(asset, description=said, partition=shard, tags=tags)
            instance.report_runless_asset_event(event)


def _instance() -> Any:
    import dagster as dg

    home = Path(os.environ.get("DAGSTER_HOME", ""))
    if not home.is_absolute() or not home.is_dir():
        raise UserError(
            f"DAGSTER_HOME is {str(home) if home.name else 'not set'}: it must be the absolute path of an existing folder, "
            'the same one for `dg dev`, as in: mkdir -p .dagster; export DAGSTER_HOME="$PWD/.dagster"'
        )
    return dg.DagsterInstance.get()
