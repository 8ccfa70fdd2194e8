"""`laion-coco check`: every rule over a data folder's files, for CI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from laion_coco_assets.cli.console import out
from laion_coco_assets.cli.options import Shards, select, takes_settings
from laion_coco_assets.errors import UserError
from laion_coco_assets.settings import Settings

if TYPE_CHECKING:
    from laion_coco_assets.checks.results import RuleResult
    from laion_coco_assets.publishing.removal_list import RemovalList
    from laion_coco_assets.stages.stage import Stage
    from laion_coco_assets.store.store import ShardStore


#: The exit code when nothing is broken, but shards wait for their stages to run again.
_EXIT_STALE: Final = 3


class Stale(StrEnum):
    """How stale shards count: as a failure with its own exit code, or not."""

    FAIL = "fail"
    WARN = "warn"


@takes_settings("check")
def check(
    settings: Settings,
    against: Annotated[
        str,
        typer.Option(
            "--profile", help="Compare fingerprints with this profile's; without it, files only with each other."
        ),
    ] = "",
    shards: Shards = None,
    stale: Annotated[
        Stale,
        typer.Option(
            help="How stale shards count: fail is exit code 3, warn only names them. A shard is stale when a stage was "
            "made again and the later ones have not run since, or when it has other settings than the profile."
        ),
    ] = Stale.FAIL,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name the rules that were skipped, with shards and reasons.")
    ] = False,
) -> None:
    """Check every rule over the stage files of a folder, for CI.

    A stale shard is not broken: it waits for its stages to run again, as after a refetch. It is named apart.

    Exit codes: 0 no blocking rule failed (warnings may have), 1 a blocking rule failed,
    2 a mistake in the call, 3 no blocking rule failed, but shards are stale (0 with --stale warn).
    """
    from laion_coco_assets.assets import STAGES, pipeline_of
    from laion_coco_assets.checks.results import Status
    from laion_coco_assets.cli.tables import verdict
    from laion_coco_assets.contract.profile_files import load_profile
    from laion_coco_assets.publishing.removal_list import RemovalList
    from laion_coco_assets.store.stage_folders import store_as_found

    pipeline = pipeline_of(load_profile(against)) if against else None
    stages = pipeline.stages if pipeline else STAGES
    store = store_as_found(settings.data_dir)
    known = sorted({shard for stage in store.stages for shard in store.shards(stage)})
    if not known:
        raise UserError(f"{settings.data_dir}: it has no stage files; name the folder that `laion-coco run` wrote to")
    selected = select(known, shards, settings.data_dir)
    expected = pipeline.fingerprints if pipeline else None
    results = _results(store, selected, stages, expected, RemovalList.load(settings.removals))
    _print(results, verbose=verbose)
    _print_unchecked(store, stages)
    out.print(verdict(results, len(selected)), highlight=False, soft_wrap=True)
    blocking = any(result.status == Status.FAILED and result.rule.is_blocking for result in results)
    is_stale = stale == Stale.FAIL and any(result.status == Status.STALE for result in results)
    raise typer.Exit(1 if blocking else _EXIT_STALE if is_stale else 0)


def _print_unchecked(store: ShardStore, stages: Sequence[type[Stage]]) -> None:
    """Name the folders whose stage only another profile knows."""
    from laion_coco_assets.stages.pipeline import with_side_files

    known = {file.name for file in with_side_files(stages)}
    for name in store.stages:
        if name not in known:
            out.print(f"{name}: not checked; pass the profile that names this stage with --profile", highlight=False)


def _results(
    store: ShardStore,
    shards: Sequence[str],
    stages: tuple[type[Stage], ...],
    expected: Mapping[str, str] | None,
    removal_list: RemovalList,
) -> list[RuleResult]:
    from laion_coco_assets.checks.check_files import check_across, check_shard
    from laion_coco_assets.checks.drift import Drift
    from laion_coco_assets.checks.rules import all_rules

    rules = all_rules(stages)
    drift = Drift(store, rules)
    results: list[RuleResult] = []
    for shard in shards:
        results += check_shard(store, shard, rules, expected, removal_list, stages) + drift.check_shard(shard, rules)
    return results + check_across(store, shards, rules, stages)


def _print(results: Sequence[RuleResult], *, verbose: bool) -> None:
    from laion_coco_assets.checks.results import Status
    from laion_coco_assets.cli.tables import checks_table, offender_lines, skipped_line, skipped_lines, stale_lines

    if any(result.status == Status.FAILED for result in results):
        out.print(checks_table(results))
        for line in offender_lines(results):
            typer.echo(line)  # not through rich, which turns tabs into blanks
    for line in stale_lines(results):
        out.print(f"[yellow]{escape(line)}[/]", highlight=False, soft_wrap=True)
    for line in skipped_lines(results) if verbose else skipped_line(results):
        out.print(f"[dim]{escape(line)}[/]", highlight=False, soft_wrap=True)
