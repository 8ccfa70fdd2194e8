"""The demo's corpus, server and tiny models, run once: what the tests of assets, checks and publishing look at."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the hub for anything
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")

from laion_coco_assets.cli.runner import ShardOutcome, run_shards
from laion_coco_assets.demo.resources import corpus_resources, write_demo_source
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets.store.store import ShardStore

SAMPLES = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--pictures docs/images` takes the documents' pictures of the UI anew, see test_dagster_ui.py."""
    parser.addoption("--pictures", type=Path, help="folder for pictures of Dagster's pages")


@dataclass(frozen=True)
class DemoRun:
    """A data folder with everything that the demo's stages made of the corpus."""

    settings: Settings
    shards: list[str]
    outcomes: list[ShardOutcome]

    @property
    def store(self) -> ShardStore:
        return ShardStore(self.settings.data_dir)

    @property
    def folder(self) -> Path:
        return Path(self.settings.data_dir)


def demo_settings(folder: Path, samples: int = SAMPLES, **changes: Any) -> Settings:
    """Settings for a data folder in which the corpus' sources have been written."""
    settings = Settings(profile="demo", data_dir=str(folder)).model_copy(update=changes)
    write_demo_source(folder / "source", samples)
    return settings


def run_demo_shards(settings: Settings) -> DemoRun:
    """Materialise every shard of the corpus as `laion-coco demo` does."""
    resources = corpus_resources(settings)
    shards = list(list_sources(settings.source_or_default))
    return DemoRun(settings, shards, list(run_shards(settings, shards, NoProgress(), resources)))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """The corpus, run once. Tests read it; whoever wants to change it copies it first."""
    run = run_demo_shards(demo_settings(tmp_path_factory.mktemp("demo")))
    assert [each.errors for each in run.outcomes] == [{}, {}]
    return run
