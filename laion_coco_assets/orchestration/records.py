"""A Dagster instance's records of shards: the names of its tags, and the queries for partitions, events and runs.

This is the only module that names Dagster's tags or asks the instance for records. Its callers decide what
follows from the answers.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

#: One partition per source shard; registered by the sensor `new_shards` or by `laion-coco shards add`.
SHARDS: Final = dg.DynamicPartitionsDefinition(name="shards")

#: Tags of a run over several shards: the first and the last of them, in the registered order.
RANGE_START: Final = "dagster/asset_partition_range_start"
RANGE_END: Final = "dagster/asset_partition_range_end"
#: Tag of a run: the schedule that requested it.
REQUESTED_BY: Final = "laion_coco/requested_by"
#: Tag of a materialisation: the fingerprint it was made with, which Dagster compares with the asset's code version.
CODE_VERSION: Final = "dagster/code_version"

_PARTITION: Final = "dagster/partition"
_DATA_VERSION: Final = "dagster/data_version"
_INPUT_DATA_VERSION: Final = "dagster/input_data_version/"
_INPUT_EVENT: Final = "dagster/input_event_pointer/"

#: The code version of a materialisation whose file was deleted: no fingerprint equals it, so it counts as stale.
_DELETED: Final = "deleted"

_ENDED: Final = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
_UNFINISHED: Final = [status for status in dg.DagsterRunStatus if status not in _ENDED]
_CHECK_PASSED: Final = {"SUCCEEDED": True, "FAILED": False}


@dataclass(frozen=True, slots=True)
class Materialisation:
    """One event of a stage's file that was made, or found complete."""

    storage_id: int
    timestamp: float  # seconds since 1970
    tags: Mapping[str, str]
    metadata: Mapping[str, dg.MetadataValue[Any]]

    @property
    def code_version(self) -> str:
        """The fingerprint it was made with; empty when the event has none."""
        return self.tags.get(CODE_VERSION, "")


# Partitions


def registered_shards(instance: dg.DagsterInstance) -> list[str]:
    """The shards that are partitions, in the order in which they were registered."""
    return list(instance.get_dynamic_partitions(SHARDS.name or ""))


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags of a run over all shards from `first` to `last`, in the registered order."""
    return {RANGE_START: first, RANGE_END: last}


def shards_of_run(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[str]:
    """The shards of a run with these tags; none if it was started for no partition."""
    if _PARTITION in tags:
        return [tags[_PARTITION]]
    if RANGE_START in tags and RANGE_END in tags:
        keys = registered_shards(instance)
        return keys[keys.index(tags[RANGE_START]) : keys.index(tags[RANGE_END]) + 1]
    return []


# Materialisations


def latest_materialisations(instance: dg.DagsterInstance, stages: Iterable[str]) -> dict[str, Mapping[str, int]]:
    """The storage id of each shard's last materialisation, by stage."""
    return {stage: _latest(instance, stage, dg.DagsterEventType.ASSET_MATERIALIZATION) for stage in stages}


def materialisations(
    instance: dg.DagsterInstance, stage: str, storage_ids: Sequence[int]
) -> dict[int, Materialisation]:
    """A stage's materialisations by storage id; those that do not exist are left out."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), storage_ids=storage_ids)
    return _fetched(instance, wanted, len(storage_ids))


def last_materialisation(instance: dg.DagsterInstance, stage: str, shard: str) -> Materialisation | None:
    """The last materialisation of a shard's file; None if there was none."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[shard])
    return next(iter(_fetched(instance, wanted, 1).values()), None)


def materialisation_tags(
    instance: dg.DagsterInstance, shard: str, inputs: Iterable[str], *, code_version: str, data_version: str
) -> dict[str, str]:
    """The tags from which Dagster tells whether a materialisation is stale.

    Dagster writes them only for what it materialises itself, not for events that a step logs. `inputs` are the
    stages whose files were read.
    """
    tags = {CODE_VERSION: code_version, _DATA_VERSION: data_version}
    for stage in inputs:
        used = last_materialisation(instance, stage, shard)
        if used is not None:
            tags[_INPUT_DATA_VERSION + stage] = used.tags.get(_DATA_VERSION, "")
            tags[_INPUT_EVENT + stage] = str(used.storage_id)
    return tags


def report_deleted(instance: dg.DagsterInstance, stages: Iterable[str], shard: str, description: str) -> None:
    """Mark a shard's materialisations, which Dagster keeps, as stale. If the shard comes back, it is made again."""
    for stage in stages:
        if last_materialisation(instance, stage, shard) is not None:
            tags = {CODE_VERSION: _DELETED}
            event = dg.AssetMaterialization(stage, description=description, partition=shard, tags=tags)
            instance.report_runless_asset_event(event)


def _fetched(instance: dg.DagsterInstance, wanted: dg.AssetRecordsFilter, limit: int) -> dict[int, Materialisation]:
    events = {}
    for record in instance.fetch_materializations(wanted, limit=limit).records:
        event = record.asset_materialization
        tags, metadata = ((event.tags or {}), event.metadata) if event else ({}, {})
        events[record.storage_id] = Materialisation(record.storage_id, record.timestamp, tags, metadata)
    return events


# Plans and runs


def latest_plans(instance: dg.DagsterInstance, stage: str) -> Mapping[str, int]:
    """For each shard, the storage id of the last event in which a run planned to materialise a stage."""
    return _latest(instance, stage, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)


def planning_runs(instance: dg.DagsterInstance, stage: str, storage_ids: Sequence[int]) -> dict[int, str]:
    """The run's id of each event in which a stage was planned, by storage id; events that do not exist are left out."""
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    wanted = dg.EventRecordsFilter(planned, dg.AssetKey(stage), storage_ids=storage_ids)
    records = instance.event_log_storage.get_event_records(wanted, limit=len(storage_ids))
    return {record.storage_id: record.run_id for record in records}


def unfinished_runs(instance: dg.DagsterInstance, runs: Sequence[str]) -> set[str]:
    """Those of the runs that are queued or in progress."""
    return set(instance.get_run_ids(dg.RunsFilter(run_ids=runs, statuses=_UNFINISHED)))


def failed_runs(instance: dg.DagsterInstance, runs: Sequence[str]) -> list[str]:
    """Those of the runs that failed, in the order of the instance."""
    return list(instance.get_run_ids(dg.RunsFilter(run_ids=runs, statuses=[dg.DagsterRunStatus.FAILURE])))


def failed_stages(instance: dg.DagsterInstance, run: str, stages: Iterable[str]) -> frozenset[str]:
    """The stages whose step failed in a run."""
    records = instance.get_records_for_run(run, of_type=dg.DagsterEventType.STEP_FAILURE).records
    steps = {record.event_log_entry.step_key or "" for record in records}
    return frozenset(steps.intersection(stages))


def _latest(instance: dg.DagsterInstance, stage: str, kind: dg.DagsterEventType) -> Mapping[str, int]:
    # An index of the database alone answers this. Dagster's query for plans without a materialisation reads whole events.
    return instance.event_log_storage.get_latest_storage_id_by_partition(dg.AssetKey(stage), kind)


# Check results


def last_check_results(
    instance: dg.DagsterInstance, rules: Mapping[str, Collection[str]], shards: Sequence[str]
) -> dict[tuple[str, str], bool]:
    """Whether a shard passed a rule, by shard and rule's name; `rules` are names by stage.

    Only results that came after the last materialisation of the rule's stage count.
    """
    keys = [dg.AssetCheckKey(dg.AssetKey(stage), name) for stage, names in rules.items() for name in names]
    if not keys:
        return {}
    passed = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=list(shards)):
        outdated = (info.latest_check_event_storage_id or 0) < (info.latest_materialization_storage_id or 0)
        result = _CHECK_PASSED.get(info.latest_execution_status.value)
        if info.partition_key is not None and result is not None and not outdated:
            passed[info.partition_key, info.check_key.name] = result
    return passed
