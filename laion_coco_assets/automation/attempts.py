"""Which shards a schedule leaves alone: a run has them now, or they failed in their last one."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from sys import intern
from typing import Final

import dagster as dg
from pydantic import Field

from laion_coco_assets.automation.events import EVENTS_PER_QUERY, EVENTS_PER_TICK, latest_events
from laion_coco_assets.automation.memory import Kept, Memory
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.store.joining import chunks

#: Failed runs whose failed stages a tick looks up, at most: SQLite keeps a file for each, which takes a while to open.
_RUNS_PER_TICK: Final = 50
_ENDED: Final = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_UNFINISHED: Final = [status for status in dg.DagsterRunStatus if status not in _ENDED]
_ORDER: Final = {stage: place for place, stage in enumerate(Stage)}

_Planned = tuple[Stage, int]  # an attempt's stage, and the storage id of the event that planned it


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Shards that a run was started for and has not materialised."""

    in_runs: set[str]
    #: Their last run has ended: it failed at them, was cancelled, or failed before it came to any stage.
    failed: set[str]

    def __contains__(self, shard: str) -> bool:
        return shard in self.in_runs or shard in self.failed


class KeptAttempts(Kept):
    """Attempts as a file has them."""

    #: Storage ids of the events that planned them, by run.
    planned: dict[str, list[int]] = Field(default_factory=dict)
    failed_at: dict[str, frozenset[Stage]] = Field(default_factory=dict)


class Attempts:
    """Attempts to materialise shards, by the events that planned them; what can not change any more is read once."""

    def __init__(self, schedule: str) -> None:
        self._memory = Memory(f"{schedule}.attempts", KeptAttempts)
        self._run: dict[int, str] = {}  # by the event's storage id
        self._failed_at: dict[str, frozenset[Stage]] = {}  # the stages at which a run that has ended failed

    def look(
        self, instance: dg.DagsterInstance, log: logging.Logger, made: Mapping[Stage, Mapping[str, int]]
    ) -> LeftAlone:
        """Shards with an attempt that is not followed by a materialisation; `made` is from `latest_materialisations`.

        Not among them is a shard that its run never came to: one bad shard fails the step of its stage, which ends the
        run for the good ones as well. Those whose run is not known yet count as in one: a later tick will tell.
        """
        first: dict[str, _Planned] = {}
        last: dict[str, _Planned] = {}
        for stage in Stage:
            planned = latest_events(instance, stage, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
            for shard, event in planned.items():
                if event > made[stage].get(shard, -1):
                    first.setdefault(shard, (stage, event))
                    last[shard] = max((stage, event), last.get(shard, (stage, -1)), key=lambda each: each[1])
        planned_by = {event: stage for stage, event in (*first.values(), *last.values())}
        self._recall(instance, log, planned_by)
        before = (len(self._run), len(self._failed_at))  # what is behind this only adds to them
        self._read_runs(instance, planned_by)
        run_of = {
            shard: (self._run[planned[1]], self._run[last[shard][1]])
            for shard, planned in first.items()
            if planned[1] in self._run and last[shard][1] in self._run
        }
        going = self._look_up(instance, {run for runs in run_of.values() for run in runs})
        if before != (len(self._run), len(self._failed_at)):
            self._keep(instance, log)
        in_runs = {shard for shard in first if shard not in run_of or not going.isdisjoint(run_of[shard])}
        return LeftAlone(
            in_runs,
            {shard for shard in first.keys() - in_runs if not self._stranded(first[shard][0], run_of[shard][0])},
        )

    def _stranded(self, stage: Stage, run: str) -> bool:
        """Whether the run ended by a failure before this stage, and so for a reason that is not the shard's."""
        return any(_ORDER[failed] < _ORDER[stage] for failed in self._failed_at.get(run, ()))

    def _recall(self, instance: dg.DagsterInstance, log: logging.Logger, planned: Mapping[int, Stage]) -> None:
        """Know what earlier ticks found out about these events and their runs, and nothing else any more."""
        kept = self._memory.recall(instance, log)
        if kept is not None:
            self._run = {event: intern(run) for run, events in kept.planned.items() for event in events}
            self._failed_at = {intern(run): stages for run, stages in kept.failed_at.items()}
        self._run = {event: run for event, run in self._run.items() if event in planned}
        if self._run:  # as for materialisations: storage ids may be given anew, runs' ids are not
            newest = max(self._run)
            if _runs_of(instance, planned[newest], [newest]).get(newest) != self._run[newest]:
                self._run = {}
        of_interest = set(self._run.values())
        self._failed_at = {run: stages for run, stages in self._failed_at.items() if run in of_interest}

    def _keep(self, instance: dg.DagsterInstance, log: logging.Logger) -> None:
        planned: dict[str, list[int]] = {}
        for event, run in self._run.items():
            planned.setdefault(run, []).append(event)
        self._memory.keep(instance, log, KeptAttempts.model_construct(planned=planned, failed_at=self._failed_at))

    def _read_runs(self, instance: dg.DagsterInstance, planned: Mapping[int, Stage]) -> None:
        unread = islice((each for each in planned.items() if each[0] not in self._run), EVENTS_PER_TICK)
        by_stage: dict[Stage, list[int]] = {}
        for event, stage in unread:
            by_stage.setdefault(stage, []).append(event)
        for stage, events in by_stage.items():
            for chunk in chunks(events, EVENTS_PER_QUERY):
                self._run |= _runs_of(instance, stage, chunk)

    def _look_up(self, instance: dg.DagsterInstance, runs: Iterable[str]) -> set[str]:
        """Find out where runs failed; returns those that have not ended."""
        going: set[str] = set()
        ended: list[str] = []
        failed: list[str] = []
        for chunk in chunks((run for run in runs if run not in self._failed_at), EVENTS_PER_QUERY):
            unfinished = set(instance.get_run_ids(dg.RunsFilter(run_ids=chunk, statuses=_UNFINISHED)))
            going |= unfinished
            ended += [run for run in chunk if run not in unfinished]
        for chunk in chunks(ended, EVENTS_PER_QUERY):
            failed += instance.get_run_ids(dg.RunsFilter(run_ids=chunk, statuses=[dg.DagsterRunStatus.FAILURE]))
        self._failed_at |= dict.fromkeys(set(ended).difference(failed), frozenset())
        for run in failed[:_RUNS_PER_TICK]:
            records = instance.get_records_for_run(run, of_type=dg.DagsterEventType.STEP_FAILURE).records
            steps = {record.event_log_entry.step_key for record in records}
            self._failed_at[run] = frozenset(stage for stage in Stage if stage.value in steps)
        return going


def _runs_of(instance: dg.DagsterInstance, stage: Stage, events: Sequence[int]) -> dict[int, str]:
    """The runs of events that planned a stage."""
    wanted = dg.EventRecordsFilter(
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.AssetKey(stage.value), storage_ids=events
    )
    records = instance.event_log_storage.get_event_records(wanted, limit=len(events))
    return {record.storage_id: intern(record.run_id) for record in records}
