"""The benchmark's small models, and one measurement that several tests look at."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from laion_coco_assets.bench.benchmark import BenchSettings, run_bench
from laion_coco_assets.bench.measured_models import Models, Size, random_models
from laion_coco_assets.bench.report import Report

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Two threads on a core that others use too wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def small() -> Models:
    return random_models(Size.SMALL, CPU, torch.float32)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, dict[str, Any], str]:
    """What the command finds at the small size, the JSON it wrote, what it printed."""
    file = Path(tmp_path_factory.mktemp("bench")) / "bench.json"
    out = Console(record=True, width=160, quiet=True)
    settings = BenchSettings(
        size=Size.SMALL,
        count=8,
        plain_count=2,
        worker_count=1,
        baseline_sweep=(2,),
        rounds=2,
        device="cpu",
        dtype="float32",
        json=file,
    )
    out.quiet, out.file = False, open("/dev/null", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    report = run_bench(settings, out, Console(quiet=True))
    return report, json.loads(file.read_text()), out.export_text()
