"""Runs the ticks of the sensor and the schedules on a simulated instance, in this process, like a code location."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from benchmarks.instance.simulation import Simulation
from laion_coco_assets.assets import pipeline_of
from laion_coco_assets.automation.missing_shards import build_missing_shards
from laion_coco_assets.automation.new_shards import new_shards
from laion_coco_assets.automation.refetch_transient import build_refetch_transient
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.resources.store_resource import ShardStoreResource, SourceResource


class Ticks:
    """The three automations of one code server. Later ticks know what earlier ones have read."""

    def __init__(self, simulation: Simulation) -> None:
        settings = simulation.settings
        profile = load_profile(settings.profile)
        self._simulation = simulation
        self._source = SourceResource(source=settings.source_or_default)
        self._store = ShardStoreResource(data_dir=settings.data_dir)
        self._missing = build_missing_shards(settings, pipeline_of(profile))
        self._refetch = build_refetch_transient(settings, pipeline_of(profile))

    def new_shards(self) -> Any:
        """The sensor's tick. It registers nothing: the daemon does that."""
        with self._simulation.instance() as instance, dg.build_sensor_context(instance=instance) as context:
            return new_shards(context, source=self._source, store=self._store)

    def missing_shards(self) -> Any:
        """A tick of `missing_shards`."""
        return self._scheduled(self._missing)

    def refetch_transient(self) -> Any:
        """A tick of `refetch_transient` in eight days, when all shards are old enough."""
        return self._scheduled(self._refetch, {"store": self._store})

    def _scheduled(self, schedule: Callable[..., Any], resources: dict[str, Any] | None = None) -> Any:
        with (
            self._simulation.instance() as instance,
            dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=datetime.now(UTC) + timedelta(days=8),
                resources=resources or {},
            ) as context,
        ):
            return schedule(context)
