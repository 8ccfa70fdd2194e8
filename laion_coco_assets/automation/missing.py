"""The schedule that works through missing and stale shards, fetching ahead of the models by a bounded number."""

from collections.abc import Mapping
from typing import Final

import dagster as dg

from laion_coco_assets.automation.attempts import Attempts
from laion_coco_assets.automation.events import EVENTS_PER_TICK, Materialisations, latest_materialisations
from laion_coco_assets.automation.requests import named, run_request, spans
from laion_coco_assets.contract.fingerprint import fingerprints
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.orchestration.stage import GROUP, SHARDS
from laion_coco_assets.settings import Settings

_NAME: Final = "missing_shards"
_FETCH: Final = (Stage.FETCHED_IMAGES,)
_MODELS: Final = tuple(stage for stage in Stage if stage not in _FETCH)


def build_missing_shards(settings: Settings, profile: Profile) -> dg.ScheduleDefinition:
    """The schedule `missing_shards` for a profile; off until somebody turns it on."""

    materialisations = Materialisations(_NAME)
    attempts = Attempts(_NAME)

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

        A shard that is in a run now, or has failed in its last one, is left alone.
        """
        instance, log = context.instance, context.log
        shards = list(instance.get_dynamic_partitions(SHARDS.name or ""))
        made = latest_materialisations(instance)
        materialisations.recall(instance, log, made)
        current = _current(instance, made, profile, materialisations)
        materialisations.keep(instance, log)
        alone = attempts.look(instance, log, made)
        fetched = [shard for shard in shards if shard in current[Stage.FETCHED_IMAGES]]
        waiting = [shard for shard in fetched if any(shard not in current[stage] for stage in _MODELS)]
        missing = [shard for shard in shards if shard not in current[Stage.FETCHED_IMAGES]]
        # What is being fetched will need the room too. What failed takes none: fetching would stop for good.
        taken = sum(shard not in alone.failed for shard in waiting) + sum(shard in alone.in_runs for shard in missing)
        room = max(0, settings.schedule_ahead - taken)
        most = settings.schedule_shards
        to_models = [shard for shard in waiting if shard not in alone][:most]
        to_fetch = [shard for shard in missing if shard not in alone][: min(most, room)]
        log.info(
            f"{len(shards)} shards: {len(fetched) - len(waiting)} published, {len(waiting)} fetched and waiting, "
            f"{len(missing)} to fetch, room for {room}; left alone are {len(alone.in_runs.intersection(waiting + missing))} "
            f"in a run now and {len(alone.failed.intersection(waiting + missing))} that failed (materialise those by hand)"
        )
        log.info(f"to the models: {named(to_models)}; to fetch: {named(to_fetch)}")
        requests = [
            run_request(_NAME, stages, span)
            for stages, chosen in ((_MODELS, to_models), (_FETCH, to_fetch))
            for span in spans(shards, set(chosen), settings.shards_per_run)
        ]
        return requests or dg.SkipReason(
            f"nothing to request: {len(waiting)} shards wait for the models, {len(missing)} to be fetched, room for {room}"
        )

    return missing_shards


def _current(
    instance: dg.DagsterInstance, last: Mapping[Stage, Mapping[str, int]], profile: Profile, known: Materialisations
) -> dict[Stage, set[str]]:
    """Shards of each stage that were made with the profile's settings, and after all stages before it.

    Those whose event was not read yet count as made with the right ones: a later tick will tell. Each stage has its share
    of what a tick reads, so that a change of any stage's settings is seen in the first one.
    """
    wanted = fingerprints(profile)
    latest: dict[str, int] = {}
    current: dict[Stage, set[str]] = {}
    before: set[str] | None = None
    left = EVENTS_PER_TICK
    for place, stage in enumerate(Stage):
        events = last[stage]
        left -= known.read(instance, stage, events.values(), left // (len(Stage) - place))
        good = set()
        for shard, event in events.items():
            made = known.get(event)
            if (made is None or made.code_version == wanted[stage]) and event > latest.get(shard, -1):
                good.add(shard)
        current[stage] = before = good if before is None else good & before
        latest |= {shard: max(event, latest.get(shard, -1)) for shard, event in events.items()}
    return current
