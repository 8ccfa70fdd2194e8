"""The sensor's and the schedules' ticks over a simulated instance, in this process as a code location evaluates them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from laion_coco_assets.automation.arrivals import new_shards
from laion_coco_assets.automation.missing import build_missing_shards
from laion_coco_assets.automation.refetch import build_refetch_transient
from laion_coco_assets.contract.profile import load_profile
from laion_coco_assets.resources.store import ShardStoreResource, SourceResource
from laion_coco_assets.simulation.instance import Simulation


class Ticks:
    """The three automations of one code server: what they read of events all later ones know."""

    def __init__(self, simulation: Simulation) -> None:
        settings = simulation.settings
        profile = load_profile(settings.profile)
        self._simulation = simulation
        self._source = SourceResource(source=settings.source_or_default)
        self._store = ShardStoreResource(data_dir=settings.data_dir)
        self._missing = build_missing_shards(settings, profile)
        self._refetch = build_refetch_transient(settings, profile)

    def new_shards(self) -> Any:
        """The sensor's tick; it registers nothing, that is the daemon's part."""
        with self._simulation.instance() as instance, dg.build_sensor_context(instance=instance) as context:
            return new_shards(context, source=self._source, store=self._store)

    def missing_shards(self) -> Any:
        """The tick of `missing_shards`."""
        return self._scheduled(self._missing)

    def refetch_transient(self) -> Any:
        """The tick of `refetch_transient`, eight days from now: all shards are old enough."""
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
