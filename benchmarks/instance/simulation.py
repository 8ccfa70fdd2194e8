"""Creates the simulated instance. One shard of the demo is really run; its records and files are copied for the others."""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.instance.copied_records import CopiedRun, Template, copy_run
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.definitions import build_defs
from laion_coco_assets.demo.resources import corpus_resources, write_demo_source
from laion_coco_assets.orchestration.records import SHARDS, range_tags
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.settings import Settings
from laion_coco_assets.store.joining import chunks
from laion_coco_assets.store.store import ShardStore

#: Rows of the demo's corpus. It has two shards, and one of them is run.
_ROWS: Final = 20
_FETCH: Final = (StageName.FETCHED_IMAGES,)
_MODELS: Final = tuple(stage for stage in StageName if stage not in _FETCH)
#: How many shards the sensor registers per tick.
_REGISTERED_AT_ONCE: Final = 5000
#: No run is started: the benchmark measures the instance, not the stages.
_CONFIGURATION: Final = """\
telemetry: {enabled: false}
concurrency: {runs: {max_concurrent_runs: 0}}
"""


@dataclass(frozen=True)
class Simulation:
    """An instance whose shards are all fetched. The first `shards_published` are published."""

    folder: Path
    shards: int
    shards_published: int

    @property
    def home(self) -> Path:
        """DAGSTER_HOME."""
        return self.folder / "dagster"

    @property
    def settings(self) -> Settings:
        """The settings of the simulated deployment."""
        return Settings(profile="demo", data_dir=str(self.folder / "data"))

    @property
    def environment(self) -> dict[str, str]:
        """The environment for processes of that deployment."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("LAION_COCO_")}
        here = {"DAGSTER_HOME": str(self.home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
        return {**own, **here, "LAION_COCO_DATA_DIR": self.settings.data_dir, "LAION_COCO_PROFILE": "demo"}

    @property
    def keys(self) -> list[str]:
        """The registered shards."""
        return [key(number) for number in range(self.shards)]

    @property
    def published(self) -> list[str]:
        """The shards that have passed all stages."""
        return self.keys[: self.shards_published]

    def instance(self) -> dg.DagsterInstance:
        """The instance. Close it after use."""
        return dg.DagsterInstance.from_config(str(self.home))


def key(number: int) -> str:
    """The name of a shard."""
    return f"part-{number:05d}"


def make_simulation(folder: Path, shards: int, published: int, done: Callable[[int], None]) -> Simulation:
    """Create the instance in an empty folder. `done` gets the number of shards whose records or files were written."""
    simulation = Simulation(folder, shards, published)
    simulation.home.mkdir(parents=True)
    (simulation.home / "dagster.yaml").write_text(_CONFIGURATION, encoding="ascii")
    _write_first_source(Path(simulation.settings.source_or_default))
    with simulation.instance() as instance:
        for chunk in chunks(iter(simulation.keys), _REGISTERED_AT_ONCE):
            instance.add_dynamic_partitions(SHARDS.name or "", chunk)
        runs = [(stages, _run(simulation, instance, stages)) for stages in (_FETCH, _MODELS)]
    for stages, run_id in runs:
        made = simulation.keys if stages == _FETCH else simulation.published
        copied = [
            CopiedRun(str(uuid.uuid4()), span) for span in chunks(iter(made[1:]), simulation.settings.shards_per_run)
        ]
        copy_run(simulation.home, Template(run_id, key(0)), copied, done)
        with simulation.instance() as instance:
            _report_last(instance, stages, made[-1])
    write_sources(simulation, simulation.keys[1:])
    _write_stage_files(simulation, done)
    return simulation


def write_sources(simulation: Simulation, shards: Sequence[str]) -> None:
    """Write a source file of one row for each shard."""
    folder = Path(simulation.settings.source_or_default)
    table = pa.table({"URL": ["http://images.test/0.jpg"], "TEXT": ["text"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    for shard in shards:
        (folder / f"{shard}.parquet").write_bytes(content)


def _write_first_source(folder: Path) -> None:
    folder.parent.mkdir()
    write_demo_source(folder, _ROWS)
    first, *others = sorted(folder.iterdir())
    first.rename(folder / f"{key(0)}.parquet")
    for other in others:
        other.unlink()


def _run(simulation: Simulation, instance: dg.DagsterInstance, stages: Sequence[StageName]) -> str:
    """Materialise the first shard's stages like a schedule's run. Returns the run's id."""
    settings = simulation.settings
    defs = build_defs(settings, {"progress": NoProgress(), **corpus_resources(settings)})
    result = dg.materialize(
        [*(defs.assets or []), *(defs.asset_checks or [])],  # type: ignore[list-item]  # as in `cli/runner.py`
        instance=instance,
        resources=dict(defs.resources or {}),
        selection=dg.AssetSelection.assets(*(stage.value for stage in stages)),
        tags=range_tags(key(0), key(0)),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return result.run_id


def _report_last(instance: dg.DagsterInstance, stages: Sequence[StageName], shard: str) -> None:
    """Report the last shard's materialisations again through the instance, which records the last one per asset."""
    for stage in stages:
        (record,) = instance.fetch_materializations(dg.AssetKey(stage.value), limit=1).records
        if record.asset_materialization is not None:
            instance.report_runless_asset_event(record.asset_materialization._replace(partition=shard))


def _write_stage_files(simulation: Simulation, done: Callable[[int], None]) -> None:
    """Link the first shard's files under the other shards' names."""
    store = ShardStore(simulation.settings.data_dir)
    for stage in (*StageName, LEDGER):
        original = Path(store.path(stage, key(0)).path)
        made = simulation.keys if stage in _FETCH else simulation.published
        for shard in made[1:]:
            _link(original, original.with_name(f"{shard}.parquet"))
        done(len(made))


def _link(original: Path, name: Path) -> None:
    try:
        name.hardlink_to(original)
    except OSError:  # a file system without links, or with no more links per file
        shutil.copy(original, name)
