"""`laion-coco fetch`: the images of a source's shards, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from laion_coco_assets.cli.console import err, interruptible, out
from laion_coco_assets.cli.options import MaxSamples, Shards, select, takes_settings
from laion_coco_assets.errors import UserError
from laion_coco_assets.printable import harmless
from laion_coco_assets.settings import Settings

if TYPE_CHECKING:
    from laion_coco_assets.contract.profile import Profile
    from laion_coco_assets.sources.protocol import SourceShard


@takes_settings("fetch")
def fetch(
    settings: Settings,
    shards: Shards = None,
    retry: Annotated[
        list[str] | None,
        typer.Option(
            help="Refetch only rows that failed for this reason, in shards that were fetched before: transient (all "
            "reasons that may pass), http_4xx, timeout, … Repeat the flag, or separate several by commas."
        ),
    ] = None,
    max_samples: MaxSamples = None,
) -> None:
    """Fetch the images of a source's shards, and nothing else: the first stage of `run`, with its checks.

    With --retry, all other rows stay as they are, and later stages run again for what has changed.

    Exit codes: 0 done, 1 some shards or blocking checks failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.contract.profile_files import load_profile
    from laion_coco_assets.contract.reasons import parse_reasons
    from laion_coco_assets.contract.stage_names import StageName
    from laion_coco_assets.sources.formats import load_formats
    from laion_coco_assets.sources.listing import list_sources
    from laion_coco_assets.store.store import ShardStore

    reasons = sorted(reason.value for reason in parse_reasons(retry or ()))
    profile = load_profile(settings.profile)
    sources = list_sources(settings.source, load_formats(profile.sources))
    candidates, where = list(sources), settings.source
    if reasons:
        fetched = set(ShardStore(settings.data_dir).shards(StageName.FETCHED_IMAGES))
        candidates = [shard for shard in sources if shard in fetched]
        where = f"{settings.data_dir}, fetched from {settings.source}"
        if not candidates:
            raise UserError(f"--retry: no shard of {settings.source} is in {settings.data_dir} yet; fetch them first")
    with interruptible():
        selected = select(candidates, shards, where)
        warn_without_contact(profile, sources[selected[0]])
        raise typer.Exit(fetch_and_report(settings, selected, reasons, max_samples=max_samples))


def fetch_and_report(
    settings: Settings, shards: Sequence[str], retry: Sequence[str], *, max_samples: int | None = None
) -> int:
    """Fetch the shards under progress bars, print tables of shards and reasons; returns the exit code.

    With `retry`, only the rows with these reasons are requested again, in shards whose file exists.
    """
    from laion_coco_assets.cli.outcomes import exit_code, run_under_bars
    from laion_coco_assets.cli.tables import fetched_table, reasons_table
    from laion_coco_assets.contract.stage_names import StageName
    from laion_coco_assets.store.joining import stage_rows
    from laion_coco_assets.store.store import ShardStore

    stage = StageName.FETCHED_IMAGES
    config = {stage.value: {"retry": list(retry)}}
    outcomes = run_under_bars(settings, shards, stages=(stage,), config=config, max_samples=max_samples)
    out.print(fetched_table(outcomes))
    store = ShardStore(settings.data_dir)
    made = [outcome.shard for outcome in outcomes if stage in outcome.metadata]
    reasons = Counter(row["reason"] for shard in made for row in stage_rows(store, stage, shard, ["reason"]))
    total = reasons.total()
    del reasons[None]
    if reasons:
        out.print(reasons_table(reasons, total))
    return exit_code(outcomes)


def warn_without_contact(profile: Profile, source: SourceShard) -> None:
    """Warn if images would be fetched with a user agent that names no contact."""
    agent = profile.fetch.user_agent
    if "://" in agent or "@" in agent:
        return
    with suppress(UserError):  # a source that cannot be read fails with its shard
        if not source.brings_images:
            text = f"user_agent has no contact: add a URL or an address under [fetch] in your profile, not {agent!r}"
            err.print(f"[yellow]warning:[/] {escape(harmless(text))}", highlight=False, soft_wrap=True)
