"""`laion-coco run`: every stage of a source's shards, with its checks."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from laion_coco_assets.cli.console import interruptible, out
from laion_coco_assets.cli.options import MaxSamples, Shards, select, takes_settings
from laion_coco_assets.settings import Settings


@takes_settings("run")
def run(settings: Settings, shards: Shards = None, max_samples: MaxSamples = None) -> None:
    """Run every stage, and its checks, for the shards of a source.

    Shards that are complete and unchanged are skipped. You can stop with Ctrl-C at any time: the same command resumes.

    Exit codes: 0 done, 1 some shards or blocking checks failed (each is named), 2 a mistake in the call or the input.
    """
    from laion_coco_assets.cli.fetch import warn_without_contact
    from laion_coco_assets.contract.profile_files import load_profile
    from laion_coco_assets.sources.formats import load_formats
    from laion_coco_assets.sources.listing import list_sources

    profile = load_profile(settings.profile)
    sources = list_sources(settings.source, load_formats(profile.sources))
    with interruptible():
        selected = select(list(sources), shards, settings.source)
        warn_without_contact(profile, sources[selected[0]])
        raise typer.Exit(run_and_report(settings, selected, max_samples=max_samples))


def run_and_report(settings: Settings, shards: Sequence[str], *, max_samples: int | None = None) -> int:
    """Run the shards under progress bars and print a table of them; returns the exit code: 1 when a shard failed."""
    from laion_coco_assets.cli.outcomes import exit_code, run_under_bars
    from laion_coco_assets.cli.tables import outcomes_table

    outcomes = run_under_bars(settings, shards, max_samples=max_samples)
    out.print(outcomes_table(outcomes))
    return exit_code(outcomes)
