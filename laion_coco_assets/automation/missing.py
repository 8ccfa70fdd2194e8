"""The schedule that works through missing and stale shards, fetching ahead of the models by a bounded number."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Final

import dagster as dg

from laion_coco_assets.assets.stage import SHARDS
from laion_coco_assets.settings import Settings
from laion_coco_assets.shards.fingerprint import fingerprints
from laion_coco_assets.shards.joining import chunks
from laion_coco_assets.shards.profile import Profile
from laion_coco_assets.shards.schemas import Stage

_CODE_VERSION: Final = "dagster/code_version"
_RANGE_START: Final = "dagster/asset_partition_range_start"
_RANGE_END: Final = "dagster/asset_partition_range_end"

#: Events that a tick reads, at most: what it has read it knows for as long as the process lives.
_EVENTS_PER_TICK: Final = 5000
_EVENTS_PER_QUERY: Final = 500

_FETCH: Final = (Stage.FETCHED_IMAGES,)
_MODELS: Final = tuple(stage for stage in Stage if stage not in _FETCH)


def build_missing_shards(settings: Settings, profile: Profile) -> dg.ScheduleDefinition:
    """The schedule `missing_shards` for a profile; off until somebody turns it on."""

    code_versions: dict[int, str] = {}  # by the event's storage id; an event never changes

    @dg.schedule(
        name="missing_shards",
        description="Requests runs for a bounded number of missing or stale shards: fetching first, then the models.",
        cron_schedule=settings.schedule_cron,
        target=dg.AssetSelection.assets(*(stage.value for stage in Stage)),
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    def missing_shards(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        """Two steps: shards that are fetched go through the models; others are fetched while there is room for them.

        A shard whose last attempt did not end in a materialisation is in a run now, or has failed: it is left alone.
        """
        shards = list(context.instance.get_dynamic_partitions(SHARDS.name or ""))
        current = _current(context.instance, profile, code_versions)
        tried = _tried(context.instance)
        fetched = [shard for shard in shards if shard in current[Stage.FETCHED_IMAGES]]
        waiting = [shard for shard in fetched if any(shard not in current[stage] for stage in _MODELS)]
        missing = [shard for shard in shards if shard not in current[Stage.FETCHED_IMAGES]]
        # What is being fetched will need the room too; what failed has never needed it, but that is not known here.
        room = max(0, settings.schedule_ahead - len(waiting) - sum(shard in tried for shard in missing))
        most = settings.schedule_shards
        to_models = [shard for shard in waiting if shard not in tried][:most]
        to_fetch = [shard for shard in missing if shard not in tried][: min(most, room)]
        context.log.info(
            f"{len(shards)} shards: {len(fetched) - len(waiting)} published, {len(waiting)} fetched and waiting, "
            f"{len(missing)} to fetch, room for {room}; {len(tried.intersection(waiting + missing))} "
            "left alone, in a run now or failed in their last one (materialise those by hand)"
        )
        context.log.info(f"to the models: {_named(to_models)}; to fetch: {_named(to_fetch)}")
        requests = [
            _request(stages, span)
            for stages, chosen in ((_MODELS, to_models), (_FETCH, to_fetch))
            for span in _spans(shards, set(chosen), settings.shards_per_run)
        ]
        return requests or dg.SkipReason(
            f"nothing to request: {len(waiting)} shards wait for the models, {len(missing)} to be fetched, room for {room}"
        )

    return missing_shards


def _current(instance: dg.DagsterInstance, profile: Profile, code_versions: dict[int, str]) -> dict[Stage, set[str]]:
    """Shards of each stage that were made with the profile's settings, and after all stages before it.

    Those whose event was not read yet count as made with the right ones: a later tick will tell.
    """
    wanted = fingerprints(profile)
    latest: dict[str, int] = {}
    current: dict[Stage, set[str]] = {}
    before: set[str] | None = None
    left = _EVENTS_PER_TICK
    for stage in Stage:
        key = dg.AssetKey(stage.value)
        made = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        unread = list(islice((event for event in made.values() if event not in code_versions), left))
        left -= len(unread)
        code_versions |= _code_versions(instance, key, unread)
        good = {
            shard
            for shard, event in made.items()
            if code_versions.get(event, wanted[stage]) == wanted[stage] and event > latest.get(shard, -1)
        }
        current[stage] = before = good if before is None else good & before
        latest |= {shard: max(event, latest.get(shard, -1)) for shard, event in made.items()}
    return current


def _code_versions(instance: dg.DagsterInstance, key: dg.AssetKey, events: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for chunk in chunks(events, _EVENTS_PER_QUERY):
        wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=chunk)
        for record in instance.fetch_materializations(wanted, limit=len(chunk)).records:
            tags = (record.asset_materialization.tags if record.asset_materialization else None) or {}
            found[record.storage_id] = tags.get(_CODE_VERSION, "")
    return found


def _tried(instance: dg.DagsterInstance) -> set[str]:
    """Shards that a run was started for and has not materialised (yet)."""
    attempts = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations
    return {shard for stage in Stage for shard in attempts(dg.AssetKey(stage.value))}


def _spans(shards: Sequence[str], chosen: Collection[str], longest: int) -> Iterator[list[str]]:
    """The chosen shards as stretches of the registered order, which is what one run can take."""
    span: list[str] = []
    for shard in shards:
        if span and (shard not in chosen or len(span) == longest):
            yield span
            span = []
        if shard in chosen:
            span.append(shard)
    if span:
        yield span


def _request(stages: Sequence[Stage], span: Sequence[str]) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{stages[0]} {span[0]}",
        asset_selection=[dg.AssetKey(stage.value) for stage in stages],
        tags={_RANGE_START: span[0], _RANGE_END: span[-1], "laion_coco/requested_by": "missing_shards"},
    )


def _named(shards: Sequence[str]) -> str:
    more = f" and {len(shards) - 5} more" if len(shards) > 5 else ""
    return ", ".join(islice(shards, 5)) + more if shards else "none"
