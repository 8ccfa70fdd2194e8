"""`laion-coco shards`: the partitions of the Dagster instance, by hand."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from laion_coco_assets.cli.console import out
from laion_coco_assets.cli.options import Shards, select
from laion_coco_assets.errors import UserError
from laion_coco_assets.wording import counted

app = typer.Typer(help="Shards as partitions of the Dagster instance in DAGSTER_HOME.", no_args_is_help=True)


@app.command("add")
def add_shards(
    source: Annotated[str, typer.Option(help="Where the shards are; LAION_COCO_SOURCE unless given.")] = "",
    shards: Shards = None,
) -> None:
    """Register the source's shards as partitions, as the sensor `new_shards` does; removed ones only if named."""
    from laion_coco_assets.contract.profile_files import load_profile
    from laion_coco_assets.orchestration.records import SHARDS, registered_shards
    from laion_coco_assets.resources.build_resources import build_resources
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.store.removed_shards import note_added, removed_shards

    settings = Settings.from_environment()
    if source:
        settings = settings.model_copy(update={"source": source})
    resources = build_resources(settings, load_profile(settings.profile))
    store = resources["store"].get()
    selected = select(list(resources["source"].shards()), shards, settings.source_or_default)
    left_out = set() if shards else removed_shards(store).intersection(selected)
    selected = [key for key in selected if key not in left_out]
    with _instance() as instance:
        note_added(store, selected)
        registered = set(registered_shards(instance))
        new = [key for key in selected if key not in registered]
        instance.add_dynamic_partitions(SHARDS.name or "", new)
    out.print(
        f"{counted(len(new), 'shard')} added, {len(selected) - len(new)} were registered already", highlight=False
    )
    if left_out:
        out.print(f"{len(left_out)} were removed before and are left out; name them to add them again", highlight=False)


@app.command("list")
def list_shards() -> None:
    """List the registered shards, one per line."""
    from laion_coco_assets.orchestration.records import registered_shards

    with _instance() as instance:
        keys = registered_shards(instance)
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

    The source is never touched. Without --files, everything made from a shard stays, published rows included.
    """
    from laion_coco_assets.orchestration.records import SHARDS, registered_shards, report_deleted
    from laion_coco_assets.settings import Settings
    from laion_coco_assets.store.removed_shards import delete_files, note_removed, shard_files
    from laion_coco_assets.store.stage_folders import store_as_found

    settings = Settings.from_environment()
    store = store_as_found(settings.data_dir)
    keys = list(dict.fromkeys(shards))
    with _instance() as instance:
        registered = set(registered_shards(instance))
        file_counts = {key: len(list(shard_files(store, key))) for key in keys}
        unknown = [key for key in keys if key not in registered and not file_counts[key]]
        if unknown:
            raise UserError(
                f"{', '.join(unknown)}: neither registered nor in {settings.data_dir}; see laion-coco shards list"
            )
        if files and not yes:
            typer.confirm(
                f"Delete {counted(sum(file_counts.values()), 'file')} and checkpoints of {counted(len(keys), 'shard')}?",
                abort=True,
            )
        note_removed(store, keys)
        for key in keys:
            instance.delete_dynamic_partition(SHARDS.name or "", key)
            left = f"{file_counts[key]} files stay in {settings.data_dir}" if file_counts[key] else "it has no files"
            if files:
                left = f"{delete_files(store, key)} files and checkpoints deleted"
                report_deleted(instance, store.stages, key, "its file was deleted by `laion-coco shards remove`")
            out.print(f"{key}: removed; {left}", highlight=False, markup=False, soft_wrap=True)


def _instance() -> Any:
    import dagster as dg

    home = Path(os.environ.get("DAGSTER_HOME", ""))
    if not home.is_absolute() or not home.is_dir():
        raise UserError(
            f"DAGSTER_HOME is {str(home) if home.name else 'not set'}: it must be the absolute path of an existing folder, "
            'the same one for `dg dev`, as in: mkdir -p .dagster; export DAGSTER_HOME="$PWD/.dagster"'
        )
    return dg.DagsterInstance.get()
