"""The schedule that works through missing and stale shards, fetching ahead of the models by a bounded number."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg

from laion_coco_assets.automation.attempts import AttemptCache, OpenAttempts
from laion_coco_assets.automation.materialisation_cache import (
    EVENTS_PER_TICK,
    CachedMaterialisation,
    MaterialisationCache,
)
from laion_coco_assets.automation.run_requests import first_few, run_request, stretches
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.orchestration.asset import GROUP
from laion_coco_assets.orchestration.records import latest_materialisations, registered_shards
from laion_coco_assets.settings import Settings
from laion_coco_assets.stages.pipeline import Pipeline

_NAME: Final = "missing_shards"
_FETCH: Final = (StageName.FETCHED_IMAGES.value,)


def build_missing_shards(settings: Settings, pipeline: Pipeline) -> dg.ScheduleDefinition:
    """The schedule `missing_shards` for a profile's stages; off until somebody turns it on."""
    later_stages = tuple(stage.name for stage in pipeline.stages if stage.name not in _FETCH)
    materialisations = MaterialisationCache(_NAME)
    attempts = AttemptCache(_NAME)

    @dg.schedule(
        name=_NAME,
        description="Requests runs for a bounded number of missing or stale shards: the models for those that are fetched, "
        "then fetching, as far ahead as it may.",
        cron_schedule=settings.schedule_cron,
        target=dg.AssetSelection.groups(GROUP),
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def missing_shards(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        """Two steps: shards that are fetched go through the models; others are fetched while there is room for them.

        A shard is not requested while a run has it, or when it failed in its last run.
        """
        instance, log = context.instance, context.log
        shards = registered_shards(instance)
        latest = latest_materialisations(instance, pipeline.by_name)
        materialisations.load(instance, log, latest)
        current = _current(instance, latest, pipeline, materialisations)
        materialisations.save(instance, log)
        attempted = attempts.open_attempts(instance, log, latest)
        plan = _plan(settings, shards, current, attempted)
        log.info(plan.summary)
        log.info(f"to the models: {first_few(plan.to_models)}; to fetch: {first_few(plan.to_fetch)}")
        requests = [
            run_request(_NAME, stages, stretch)
            for stages, chosen in ((later_stages, plan.to_models), (_FETCH, plan.to_fetch))
            for stretch in stretches(shards, set(chosen), settings.shards_per_run)
        ]
        return requests or dg.SkipReason(f"nothing to request: {plan.backlog}")

    return missing_shards


@dataclass(frozen=True, slots=True)
class _Plan:
    """The shards that a tick requests, and what it says about all of them."""

    to_models: list[str]
    to_fetch: list[str]
    backlog: str
    summary: str


def _plan(
    settings: Settings, shards: Sequence[str], current: Mapping[str, Collection[str]], attempted: OpenAttempts
) -> _Plan:
    fetched = [shard for shard in shards if shard in current[StageName.FETCHED_IMAGES]]
    waiting = [shard for shard in fetched if any(shard not in of_stage for of_stage in current.values())]
    missing = [shard for shard in shards if shard not in current[StageName.FETCHED_IMAGES]]
    # Shards that are being fetched will need room, too. Failed ones take none: fetching would stop for good.
    taken = sum(shard not in attempted.failed for shard in waiting)
    taken += sum(shard in attempted.in_progress for shard in missing)
    room = max(0, settings.schedule_ahead - taken)
    most = settings.schedule_shards
    unpublished = {*waiting, *missing}
    backlog = f"{len(waiting)} shards wait for the models, {len(missing)} are to be fetched, room for {room}"
    return _Plan(
        to_models=[shard for shard in waiting if shard not in attempted][:most],
        to_fetch=[shard for shard in missing if shard not in attempted][: min(most, room)],
        backlog=backlog,
        summary=f"of {len(shards)} shards {len(fetched) - len(waiting)} are published; {backlog}; not requested are "
        f"{len(attempted.in_progress & unpublished)} in a run now and {len(attempted.failed & unpublished)} that failed "
        "(materialise those by hand)",
    )


def _current(
    instance: dg.DagsterInstance,
    latest: Mapping[str, Mapping[str, int]],
    pipeline: Pipeline,
    cache: MaterialisationCache,
) -> dict[str, set[str]]:
    """By stage, the shards that were made with the profile's settings, and after all stages that they are made from.

    A shard whose event has not been read yet counts as made with the right settings until a later tick has read it. Each
    stage has its share of what a tick reads, so the first tick sees a change of any stage's settings.
    """
    current: dict[str, set[str]] = {}
    left = EVENTS_PER_TICK
    for place, stage in enumerate(latest):
        left -= cache.read(instance, stage, latest[stage].values(), left // (len(latest) - place))
        sources = pipeline.before(stage)
        current[stage] = {
            shard
            for shard, event in latest[stage].items()
            if all(shard in current[source] and event > latest[source][shard] for source in sources)
            and _is_current(cache.get(event), pipeline.fingerprints[stage])
        }
    return current


def _is_current(made: CachedMaterialisation | None, fingerprint: str) -> bool:
    return made is None or made.code_version == fingerprint
