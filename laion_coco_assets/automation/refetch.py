"""The schedule that asks again for images whose failure may have passed, of shards that were fetched a while ago."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Final

import dagster as dg

from laion_coco_assets.assets.refetch import wanted_rows
from laion_coco_assets.assets.stage import SHARDS
from laion_coco_assets.automation.attempts import Attempts
from laion_coco_assets.automation.events import EVENTS_PER_TICK, Materialisations, latest_materialisations
from laion_coco_assets.automation.requests import named, run_request, spans
from laion_coco_assets.errors import StoreError
from laion_coco_assets.fetching.reasons import TRANSIENT, TRANSIENT_NAME
from laion_coco_assets.resources.store import ShardStoreResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.shards.fingerprint import fingerprints
from laion_coco_assets.shards.profile import Profile
from laion_coco_assets.shards.schemas import Stage
from laion_coco_assets.shards.store import ShardStore

_STAGE: Final = Stage.FETCHED_IMAGES
#: Files that a tick opens, at most: each is opened once for as long as the process lives.
_FILES_PER_TICK: Final = 200


@dataclass(frozen=True, slots=True)
class _File:
    """What a shard's file of fetched images says: rows worth asking for again, how often that was done, its age."""

    transient: int
    refetches: int
    written: float = 0.0  # seconds since 1970


def build_refetch_transient(settings: Settings, profile: Profile) -> dg.ScheduleDefinition:
    """The schedule `refetch_transient` for a profile; off until somebody turns it on."""

    materialisations = Materialisations()
    attempts = Attempts()
    files: dict[int, _File] = {}  # by the event that wrote them

    @dg.schedule(
        name="refetch_transient",
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
        instance = context.instance
        shards = list(instance.get_dynamic_partitions(SHARDS.name or ""))
        before = context.scheduled_execution_time - timedelta(days=settings.refetch_after_days)
        made = latest_materialisations(instance)
        materialisations.read(instance, _STAGE, made[_STAGE].values(), EVENTS_PER_TICK)
        old = _made_before(shards, made[_STAGE], materialisations, fingerprints(profile)[_STAGE], before.timestamp())
        alone = attempts.look(instance, made)
        due = [(shard, event) for shard, event in old.items() if shard not in alone]
        look = _Look(store.get(), files)
        worth_it = (
            shard
            for shard, file in look.at(due)
            if file.transient and file.refetches < settings.refetch_times and file.written <= before.timestamp()
        )
        chosen = list(islice(worth_it, settings.refetch_shards))
        context.log.info(
            f"{len(shards)} shards: {len(old)} were fetched {settings.refetch_after_days:g} days ago or more, "
            f"{len(old) - len(due)} of them in a run now or failed in their last one; {look.opened} files opened"
        )
        for problem in look.problems:
            context.log.warning(problem)
        context.log.info(f"to ask again: {named(chosen)}")
        requests = [
            run_request("refetch_transient", [_STAGE], span, {_STAGE: {"retry": [TRANSIENT_NAME]}})
            for span in spans(shards, set(chosen), settings.shards_per_run)
        ]
        return requests or dg.SkipReason(
            f"nothing to ask for again: of {len(due)} shards that are old enough, none is known with transient failures "
            f"that were asked for less than {settings.refetch_times} times"
        )

    return refetch_transient


class _Look:
    """Looks into shards' files, no more of them than a tick may open."""

    def __init__(self, store: ShardStore, known: dict[int, _File]) -> None:
        self._store = store
        self._known = known
        self.opened = 0
        self.problems: list[str] = []

    def at(self, shards: Iterable[tuple[str, int]]) -> Iterator[tuple[str, _File]]:
        """What is known of each shard's file; those beyond the bound are left out, a later tick gets to them."""
        for shard, event in shards:
            if event not in self._known and self.opened < _FILES_PER_TICK:
                self.opened += 1
                try:
                    self._known[event] = _read(self._store, shard)
                except StoreError as error:
                    self.problems.append(str(error))
            if event in self._known:
                yield shard, self._known[event]


def _read(store: ShardStore, shard: str) -> _File:
    info = store.info(_STAGE, shard)
    # Cleared away to make room, or never fetched: there is nothing to ask again for.
    if info is None or info.metadata.get("brings_images"):
        return _File(transient=0, refetches=0)
    written = store.path(_STAGE, shard).stat().st_mtime
    return _File(wanted_rows(store, shard, TRANSIENT), len(info.metadata.get("refetches", [])), written)


def _made_before(
    shards: Iterable[str],
    events: Mapping[str, int],
    materialisations: Materialisations,
    code_version: str,
    timestamp: float,
) -> dict[str, int]:
    """The registered shards that were last made before a time, with these settings, and their events.

    Where the last run found the file complete and skipped it, only the file knows when it was made.
    """
    found: dict[str, int] = {}
    for shard in shards:
        event = events.get(shard)
        made = None if event is None else materialisations.get(event)
        if event is None or made is None or made.code_version != code_version:
            continue
        if made.skipped or made.timestamp <= timestamp:
            found[shard] = event
    return found
