"""Running the assets and their checks in this process, one shard at a time: what the terminal's commands share."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.errors import SourceError, StoreError
from laion_coco_assets.orchestration.records import SHARDS
from laion_coco_assets.progress import Progress
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.protocol import SourceShard
from laion_coco_assets.stages.pipeline import Pipeline
from laion_coco_assets.stages.stage import Stage, StageRun
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets.store.trial import MAX_SAMPLES_TAG, profile_of_run

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class ShardOutcome:
    """What became of one shard: its metadata by stage, and what went wrong, if anything did."""

    shard: str
    seconds: float
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Stages that failed, with their messages.
    errors: Mapping[str, str] = field(default_factory=dict)
    #: Blocking checks that failed, and those that only warn.
    failed_checks: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """Whether every stage was made and every blocking check passed."""
        return not self.errors and not self.failed_checks


def run_shards(
    settings: Settings,
    shards: Sequence[str],
    progress: Progress,
    overrides: Mapping[str, Any] | None = None,
    *,
    stages: Sequence[str] | None = None,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    max_samples: int | None = None,
) -> Iterator[ShardOutcome]:
    """Materialise `stages` of each shard with their checks; all stages of the profile unless given.

    A shard that fails does not stop the ones after it.

    `config` is what the stages' assets take as configuration; with `max_samples` it is a trial, see `store.trial`.

    Raises:
        UserError: the settings cannot be used.
        KeyboardInterrupt: Ctrl-C; what was done is in checkpoints.
    """
    defs = build_defs(settings, {"progress": progress, **(overrides or {})})
    resources = dict(defs.resources or {})
    tags = {} if max_samples is None else {MAX_SAMPLES_TAG: str(max_samples)}
    pipeline = pipeline_of(profile_of_run(load_profile(settings.profile), tags))
    names = tuple(pipeline.by_name) if stages is None else tuple(stages)
    _preflight(pipeline, shards, resources, [pipeline.by_name[name] for name in names])
    ops = {stage: {"config": dict(given)} for stage, given in (config or {}).items()}
    assets = [*(defs.assets or []), *(defs.asset_checks or [])]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SHARDS.name or "", list(shards))
        for shard in shards:
            started = time.monotonic()
            try:
                result = dg.materialize(
                    assets,  # type: ignore[arg-type]  # Definitions type their assets more widely than materialize takes
                    partition_key=shard,
                    instance=instance,
                    resources=resources,
                    run_config={**_QUIET, "ops": ops},
                    tags=tags,
                    selection=dg.AssetSelection.assets(*names),
                    raise_on_error=False,
                )
            except dg.DagsterExecutionInterruptedError:
                raise KeyboardInterrupt from None
            if _interrupted(result):
                raise KeyboardInterrupt
            yield _outcome(shard, result, time.monotonic() - started)


def _preflight(
    pipeline: Pipeline, shards: Sequence[str], resources: Mapping[str, Any], stages: Sequence[type[Stage]]
) -> None:
    """Find out now what would otherwise fail after hours of fetching: no usable source, a missing model.

    What is loaded here stays loaded for the stages.
    """
    store = resources["store"].get()
    sources = {name for stage in stages for name in pipeline.before(stage.name)}
    last = [stage.name for stage in stages if stage.name not in sources]  # those that no other stage is made from
    todo = [
        shard
        for shard in shards
        if not all(_is_current(store, name, shard, pipeline.fingerprints[name]) for name in last)
    ]
    if any("removals" in stage.resources for stage in stages):
        resources["removals"].get()
    if not todo:
        return
    store.prepare()
    _some_source_is_good(resources["source"].shards(), todo)
    run = StageRun(pipeline.profile, pipeline.fingerprints, pipeline.settings, store, resources)
    for stage in stages:
        stage.preflight(run)


def _is_current(store: ShardStore, stage: str, shard: str, fingerprint: str) -> bool:
    try:
        info = store.info(stage, shard)
    except StoreError:
        return False
    return info is not None and info.key.fingerprint == fingerprint


def _some_source_is_good(sources: Mapping[str, SourceShard], shards: Sequence[str]) -> None:
    """Refuse the call if all shards are bad. One bad shard among others fails alone, later."""
    error: SourceError | None = None
    for shard in shards:
        try:
            _ = sources[shard].rows
        except SourceError as bad:
            error = error or bad
        else:
            return
    if error is not None:
        raise error


def _interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C ended a step. Dagster reports a failed step, and the next shard would run."""
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__ for error in errors)


def _outcome(shard: str, result: dg.ExecuteInProcessResult, seconds: float) -> ShardOutcome:
    made = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    metadata = {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.metadata.items()}
        for event in made
    }
    errors = {event.step_key or "run": _message(event) for event in result.all_events if event.is_step_failure}
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    blocking = sorted({check.check_name for check in failed if check.severity == dg.AssetCheckSeverity.ERROR})
    warnings = sorted({check.check_name for check in failed if check.severity == dg.AssetCheckSeverity.WARN})
    return ShardOutcome(shard, seconds, metadata, errors, blocking, warnings)


def _message(event: dg.DagsterEvent) -> str:
    """A failed step's message for the user: the stage's own, if it gave one."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    return data.error.message if data.error else "failed without a message"
