"""The schedule that asks again for images whose failure may have passed, of shards that were fetched a while ago."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import islice
from typing import Final

import dagster as dg

from laion_coco_assets.automation.attempts import Attempts
from laion_coco_assets.automation.events import EVENTS_PER_TICK, Materialisations, latest_materialisations
from laion_coco_assets.automation.fetched_files import FetchedFiles, Look
from laion_coco_assets.automation.requests import named, run_request, spans
from laion_coco_assets.contract.fingerprint import fingerprints
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.reasons import TRANSIENT_NAME
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.orchestration.stage import SHARDS
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.settings import Settings

_NAME: Final = "refetch_transient"
_STAGE: Final = Stage.FETCHED_IMAGES


def build_refetch_transient(settings: Settings, profile: Profile) -> dg.ScheduleDefinition:
    """The schedule `refetch_transient` for a profile; off until somebody turns it on."""

    materialisations = Materialisations(_NAME)
    attempts = Attempts(_NAME)
    files = FetchedFiles(_NAME)

    @dg.schedule(
        name=_NAME,
        description="Asks again for transient failures of a bounded number of shards that were fetched a while ago.",
        cron_schedule=settings.refetch_cron,
        target=dg.AssetSelection.assets(_STAGE.value),
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def refetch_transient(
        context: dg.ScheduleEvaluationContext, store: ShardStoreResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        """Old shards with transient failures that were not asked for too often yet, in the registered order.

        A shard that is in a run now, or has failed at any stage in its last one, is left alone.
        """
        instance, log = context.instance, context.log
        shards = list(instance.get_dynamic_partitions(SHARDS.name or ""))
        before = context.scheduled_execution_time - timedelta(days=settings.refetch_after_days)
        made = latest_materialisations(instance)
        materialisations.recall(instance, log, {_STAGE: made[_STAGE]})
        materialisations.read(instance, _STAGE, made[_STAGE].values(), EVENTS_PER_TICK)
        materialisations.keep(instance, log)
        old = _made_before(shards, made[_STAGE], materialisations, fingerprints(profile)[_STAGE], before.timestamp())
        alone = attempts.look(instance, log, made)
        due = [shard for shard in old if shard not in alone]
        look = Look(instance, log, store.get(), files)
        worth_it = (
            shard
            for shard, file in look.at(due)
            if file.transient and file.refetches < settings.refetch_times and file.written <= before.timestamp()
        )
        chosen = list(islice(worth_it, settings.refetch_shards))
        look.keep()
        log.info(
            f"{len(shards)} shards: {len(old)} were fetched {settings.refetch_after_days:g} days ago or more, "
            f"{len(old) - len(due)} of them in a run now or failed in their last one; {look.opened} files opened, "
            f"{len(files.unreadable)} can not be read"
        )
        for problem in look.problems:
            log.warning(problem)
        log.info(f"to ask again: {named(chosen)}")
        requests = [
            run_request(_NAME, [_STAGE], span, {_STAGE: {"retry": [TRANSIENT_NAME]}})
            for span in spans(shards, set(chosen), settings.shards_per_run)
        ]
        return requests or dg.SkipReason(
            f"nothing to ask for again: of {len(due)} shards that are old enough, none is known with transient failures "
            f"that were asked for less than {settings.refetch_times} times"
        )

    return refetch_transient


def _made_before(
    shards: Iterable[str],
    events: Mapping[str, int],
    materialisations: Materialisations,
    code_version: str,
    timestamp: float,
) -> list[str]:
    """The registered shards that were last made before a time, with these settings.

    Where the last run found the file complete and skipped it, only the file knows when it was made.
    """
    found: list[str] = []
    for shard in shards:
        event = events.get(shard)
        made = None if event is None else materialisations.get(event)
        if event is None or made is None or made.code_version != code_version:
            continue
        if made.skipped or made.timestamp <= timestamp:
            found.append(shard)
    return found
