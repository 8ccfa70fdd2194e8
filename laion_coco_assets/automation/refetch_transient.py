"""The schedule that fetches images again whose failure may have passed, of shards that were fetched a while ago."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import islice
from typing import Final

import dagster as dg

from laion_coco_assets.automation.attempts import AttemptCache
from laion_coco_assets.automation.fetched_files import FileCache, FileReader
from laion_coco_assets.automation.materialisation_cache import EVENTS_PER_TICK, MaterialisationCache
from laion_coco_assets.automation.run_requests import first_few, run_request, stretches
from laion_coco_assets.contract.reasons import TRANSIENT_NAME
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.orchestration.records import latest_materialisations, registered_shards
from laion_coco_assets.resources.store_resource import ShardStoreResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.stages.pipeline import Pipeline

_NAME: Final = "refetch_transient"
_STAGE: Final = StageName.FETCHED_IMAGES.value


def build_refetch_transient(settings: Settings, pipeline: Pipeline) -> dg.ScheduleDefinition:
    """The schedule `refetch_transient` for a profile; off until somebody turns it on."""

    materialisations = MaterialisationCache(_NAME)
    attempts = AttemptCache(_NAME)
    files = FileCache(_NAME)

    @dg.schedule(
        name=_NAME,
        description="Fetches transient failures again, of a bounded number of shards that were fetched a while ago.",
        cron_schedule=settings.refetch_cron,
        target=dg.AssetSelection.assets(_STAGE),
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def refetch_transient(
        context: dg.ScheduleEvaluationContext, store: ShardStoreResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        """Old shards with transient failures that were not fetched again too often yet, in the registered order.

        A shard is not requested while a run has it, or when it failed in its last run, at whichever stage.
        """
        instance, log = context.instance, context.log
        shards = registered_shards(instance)
        before = (context.scheduled_execution_time - timedelta(days=settings.refetch_after_days)).timestamp()
        latest = latest_materialisations(instance, pipeline.by_name)
        materialisations.load(instance, log, {_STAGE: latest[_STAGE]})
        materialisations.read(instance, _STAGE, latest[_STAGE].values(), EVENTS_PER_TICK)
        materialisations.save(instance, log)
        old = _made_before(before, shards, latest[_STAGE], materialisations, pipeline.fingerprints[_STAGE])
        attempted = attempts.open_attempts(instance, log, latest)
        due = [shard for shard in old if shard not in attempted]
        reader = FileReader(instance, log, store.get(), files)
        worthwhile = (
            shard
            for shard, file in reader.read(due)
            if file.transient and file.refetches < settings.refetch_times and file.written <= before
        )
        chosen = list(islice(worthwhile, settings.refetch_shards))
        reader.save()
        log.info(
            f"{len(shards)} shards: {len(old)} were fetched {settings.refetch_after_days:g} days ago or earlier, "
            f"{len(old) - len(due)} of them are in a run now or failed in their last one; {reader.opened} files opened, "
            f"{len(files.unreadable)} cannot be read"
        )
        for problem in reader.problems:
            log.warning(problem)
        log.info(f"to fetch again: {first_few(chosen)}")
        requests = [
            run_request(_NAME, [_STAGE], stretch, {_STAGE: {"retry": [TRANSIENT_NAME]}})
            for stretch in stretches(shards, set(chosen), settings.shards_per_run)
        ]
        return requests or dg.SkipReason(
            f"nothing to fetch again: {len(due)} shards are old enough; none is known to have transient failures that were "
            f"fetched again fewer than {settings.refetch_times} times"
        )

    return refetch_transient


def _made_before(
    timestamp: float,
    shards: Iterable[str],
    latest: Mapping[str, int],
    cache: MaterialisationCache,
    code_version: str,
) -> list[str]:
    """The registered shards that were last made before a time (seconds since 1970), with these settings.

    Shards are among them whose last run found the file complete and skipped it: only the file tells when it was made.
    """
    old: list[str] = []
    for shard in shards:
        event = latest.get(shard)
        made = None if event is None else cache.get(event)
        if made is not None and made.code_version == code_version and (made.skipped or made.timestamp <= timestamp):
            old.append(shard)
    return old
