"""A schedule's cache of attempts, and the shards that it must not request: a run has them now, or failed at them."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from sys import intern
from typing import Final

import dagster as dg
from pydantic import Field

from laion_coco_assets.automation.materialisation_cache import EVENTS_PER_QUERY, EVENTS_PER_TICK
from laion_coco_assets.automation.state_file import State, StateFile
from laion_coco_assets.orchestration import records
from laion_coco_assets.store.joining import chunks

#: A tick looks up the failed stages of at most this many runs: SQLite has a file for each, which takes a while to open.
_RUNS_PER_TICK: Final = 50

_PlannedStage = tuple[str, int]  # the stage that a run planned for a shard, and the event's storage id


@dataclass(frozen=True, slots=True)
class OpenAttempts:
    """Shards that a run was started for and that were not materialised since."""

    #: Their run is queued or in progress, or is not known yet.
    in_progress: set[str]
    #: Their last run has ended: it failed at them, was cancelled, or failed before any stage.
    failed: set[str]

    def __contains__(self, shard: str) -> bool:
        return shard in self.in_progress or shard in self.failed


class AttemptState(State):
    """The cache in its file."""

    #: Storage ids of the events in which runs planned a stage, by run.
    planned: dict[str, list[int]] = Field(default_factory=dict)
    failed_at: dict[str, frozenset[str]] = Field(default_factory=dict)


class AttemptCache:
    """Attempts to materialise shards, by the events that planned them. What cannot change any more is read once."""

    def __init__(self, schedule: str) -> None:
        self._file = StateFile(f"{schedule}.attempts", AttemptState)
        self._run: dict[int, str] = {}  # by the event's storage id
        self._failed_at: dict[str, frozenset[str]] = {}  # the stages at which a run failed, for runs that have ended

    def open_attempts(
        self, instance: dg.DagsterInstance, log: logging.Logger, latest: Mapping[str, Mapping[str, int]]
    ) -> OpenAttempts:
        """Shards with an attempt that no materialisation followed.

        `latest` is from `latest_materialisations`, its stages in pipeline order.

        A shard that its run did not reach is left out: one bad shard fails the step of its stage, which ends the run for
        the good ones, too. A shard whose run is not known yet counts as in progress until a later tick has read it.
        """
        first, last = _open_plans(instance, latest)
        planned = {event: stage for stage, event in (*first.values(), *last.values())}
        self._load(instance, log, planned)
        before = (len(self._run), len(self._failed_at))  # from here on they only grow
        self._read_runs(instance, planned)
        runs = {
            shard: (self._run[plan[1]], self._run[last[shard][1]])
            for shard, plan in first.items()
            if plan[1] in self._run and last[shard][1] in self._run
        }
        unfinished = self._read_failures(instance, {run for pair in runs.values() for run in pair}, latest)
        if before != (len(self._run), len(self._failed_at)):
            self._save(instance, log)
        in_progress = {shard for shard in first if shard not in runs or not unfinished.isdisjoint(runs[shard])}
        ended = first.keys() - in_progress
        earlier = {stage: frozenset(islice(latest, place)) for place, stage in enumerate(latest)}
        failed = {
            shard
            for shard in ended
            if self._failed_at.get(runs[shard][0], frozenset()).isdisjoint(earlier[first[shard][0]])
        }
        return OpenAttempts(in_progress, failed)

    def _load(self, instance: dg.DagsterInstance, log: logging.Logger, planned: Mapping[int, str]) -> None:
        """Take up what earlier ticks read of these events and their runs, and drop the rest."""
        state = self._file.load(instance, log)
        if state is not None:
            self._run = {event: intern(run) for run, events in state.planned.items() for event in events}
            self._failed_at = {intern(run): stages for run, stages in state.failed_at.items()}
        self._run = {event: run for event, run in self._run.items() if event in planned}
        if self._run:  # as for materialisations: storage ids may be given again, runs' ids are not
            newest = max(self._run)
            if records.planning_runs(instance, planned[newest], [newest]).get(newest) != self._run[newest]:
                self._run = {}
        runs = set(self._run.values())
        self._failed_at = {run: stages for run, stages in self._failed_at.items() if run in runs}

    def _save(self, instance: dg.DagsterInstance, log: logging.Logger) -> None:
        planned: dict[str, list[int]] = {}
        for event, run in self._run.items():
            planned.setdefault(run, []).append(event)
        self._file.save(instance, log, AttemptState.model_construct(planned=planned, failed_at=self._failed_at))

    def _read_runs(self, instance: dg.DagsterInstance, planned: Mapping[int, str]) -> None:
        unread = islice((plan for plan in planned.items() if plan[0] not in self._run), EVENTS_PER_TICK)
        by_stage: dict[str, list[int]] = {}
        for event, stage in unread:
            by_stage.setdefault(stage, []).append(event)
        for stage, events in by_stage.items():
            for chunk in chunks(events, EVENTS_PER_QUERY):
                runs = records.planning_runs(instance, stage, chunk)
                self._run |= {event: intern(run) for event, run in runs.items()}

    def _read_failures(self, instance: dg.DagsterInstance, runs: Iterable[str], stages: Iterable[str]) -> set[str]:
        """Read at which stages runs failed; returns those that have not ended."""
        unfinished: set[str] = set()
        ended: list[str] = []
        failed: list[str] = []
        for chunk in chunks((run for run in runs if run not in self._failed_at), EVENTS_PER_QUERY):
            still_unfinished = records.unfinished_runs(instance, chunk)
            unfinished |= still_unfinished
            ended += [run for run in chunk if run not in still_unfinished]
        for chunk in chunks(ended, EVENTS_PER_QUERY):
            failed += records.failed_runs(instance, chunk)
        self._failed_at |= dict.fromkeys(set(ended).difference(failed), frozenset())
        for run in failed[:_RUNS_PER_TICK]:
            self._failed_at[run] = records.failed_stages(instance, run, stages)
        return unfinished


def _open_plans(
    instance: dg.DagsterInstance, latest: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, _PlannedStage], dict[str, _PlannedStage]]:
    """By shard, the plans that no materialisation of their stage followed: the one of the first stage, and the latest."""
    first: dict[str, _PlannedStage] = {}
    last: dict[str, _PlannedStage] = {}
    for stage in latest:
        for shard, event in records.latest_plans(instance, stage).items():
            if event > latest[stage].get(shard, -1):
                first.setdefault(shard, (stage, event))
                last[shard] = max((stage, event), last.get(shard, (stage, -1)), key=lambda plan: plan[1])
    return first, last
