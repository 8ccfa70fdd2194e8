"""A stage's step: it makes the shards of a run one by one. A bad shard fails alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import dagster as dg

from laion_coco_assets.errors import UserError
from laion_coco_assets.orchestration.blocking_checks import BlockingChecks
from laion_coco_assets.orchestration.materialisation_events import failure, materialisation, result
from laion_coco_assets.orchestration.metadata import shard_metadata, speed_when_made
from laion_coco_assets.orchestration.retries import WAITS, is_transient
from laion_coco_assets.orchestration.shard_checks import ShardChecks
from laion_coco_assets.progress import Progress
from laion_coco_assets.stages.make_file import make_file
from laion_coco_assets.stages.pipeline import Pipeline
from laion_coco_assets.stages.stage import Stage, StageRun
from laion_coco_assets.store.removed_shards import note_added
from laion_coco_assets.store.trial import keep_whole, profile_of_run
from laion_coco_assets.wording import counted

#: What was made of each shard: its file's StageInfo, and what the UI shows.
Made = dict[str, tuple[Any, Mapping[str, Any]]]


def materialise_shards(
    context: dg.AssetExecutionContext, pipeline: Pipeline, stage: type[Stage]
) -> dg.MaterializeResult[Any]:
    """Make a stage's file for every shard of the run.

    An exception would leave no shard of the run materialised. So it is raised after the other shards are done. Their
    materialisations are then logged one by one, with their checks' results, because Dagster skips the checks of a step
    that failed.
    """
    with message_alone():
        pipeline = pipeline.with_profile(profile_of_run(pipeline.profile, context.run.tags))
        config = dict(context.op_execution_context.op_config or {}) if stage.config_model else {}
        stage.validate_config(config)
    with stage_run(context, pipeline, stage, config) as run:
        # Stage and checks go by one reading of the list, whatever happens to it meanwhile.
        removals = partial(run.once, "removals", context.resources.removals.get)
        checks = ShardChecks(context.op_execution_context, pipeline, run.store, removals)
        made, failed = _make_all(context, run, stage, checks, pipeline)
        if failed:
            _end_in_failure(context, stage, made, failed, checks)
    return result(context, run.fingerprints[stage.name], made)


def stage_run(
    context: dg.AssetExecutionContext, pipeline: Pipeline, stage: type[Stage], config: Mapping[str, Any]
) -> StageRun:
    """What this run gives to the stage."""
    return StageRun(
        profile=pipeline.profile,
        fingerprints=pipeline.fingerprints,
        settings_by_stage=pipeline.settings,
        store=context.resources.store.get(),
        resources={name: getattr(context.resources, name) for name in stage.resources},
        config=config,
        run_id=context.run.run_id,
        log=context.log,
    )


@contextmanager
def message_alone() -> Iterator[None]:
    """Let a user's mistake fail the step with its message alone, and without another try."""
    try:
        yield
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def _make_all(
    context: dg.AssetExecutionContext, run: StageRun, stage: type[Stage], checks: ShardChecks, pipeline: Pipeline
) -> tuple[Made, dict[str, Exception]]:
    """Every shard's file: what was made, and what failed."""
    made: Made = {}
    failed: dict[str, Exception] = {}
    blocking = BlockingChecks(context, pipeline.before(stage.name), context.partition_keys, checks)
    note_added(run.store, context.partition_keys)  # a removed shard that is run is back: its files are no leftovers
    for shard in context.partition_keys:
        try:
            keep_whole(run.store, shard, run.profile)
            work = stage(run, shard)
            _ = work.key  # raises when a file that it is made from is missing or outdated
            work.validate()
            blocking.require_passed(shard)
            made[shard] = _make(context, work)
        except Exception as error:  # whatever it is, the other shards go on and it is raised later
            failed[shard] = error
            if isinstance(error, UserError):
                context.log.error(f"shard {shard}: {error}")  # noqa: TRY400  # the message is whole
            else:
                context.log.exception(f"shard {shard}")
    return made, failed


def _make(context: dg.AssetExecutionContext, work: Stage) -> tuple[Any, dict[str, Any]]:
    started = time.monotonic()
    work.before_file()
    rows = make_file(work, context.resources.progress)
    seconds = time.monotonic() - started
    info = work.store.need(work.name, work.shard)
    metadata = shard_metadata(work, info, made=rows, seconds=seconds)
    if rows is None:
        context.log.info(f"shard {work.shard}: complete and unchanged, skipped")
        metadata |= speed_when_made(context.instance, info)
    else:
        resumed = f", {info.rows - rows} more came from checkpoints or the earlier file" if rows < info.rows else ""
        context.log.info(f"shard {work.shard}: {counted(rows, 'row')} made in {seconds:.1f} s{resumed}")
    return info, metadata


def _end_in_failure(
    context: dg.AssetExecutionContext,
    stage: type[Stage],
    made: Made,
    failed: Mapping[str, Exception],
    checks: ShardChecks,
) -> None:
    """Log the good shards, then ask for another try if a failure may pass, else fail and name the bad shards."""
    for shard, (info, metadata) in made.items():
        context.log_event(materialisation(context, shard, info, metadata))
    # One that may pass is enough: the other shards that failed fail again quickly, and complete files are skipped.
    passing = [error for error in failed.values() if is_transient(error)]
    if passing and context.retry_number < len(WAITS):
        progress: Progress = context.resources.progress
        progress.wait(WAITS[context.retry_number], str(passing[0]))
        raise dg.RetryRequested(len(WAITS), WAITS[context.retry_number]) from passing[0]
    if made:
        _check(context, stage, list(made), checks)
    raise failure(context, failed) from next(iter(failed.values()))


def _check(context: dg.AssetExecutionContext, stage: type[Stage], shards: Sequence[str], checks: ShardChecks) -> None:
    try:
        checks.check_after_failure(stage.name, shards)
    except Exception:  # the run ends with the earlier failure; the next stage evaluates the rules itself
        context.log.exception("the shards that were made could not be checked")
