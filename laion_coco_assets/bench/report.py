"""The benchmark's results, as tables for people and as JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from laion_coco_assets.bench.agreement import Agreement
from laion_coco_assets.bench.lap_clock import OTHER
from laion_coco_assets.bench.rounds import Measurement
from laion_coco_assets.bench.sizes import SizeRate

TOWERS: Final = ("blip_image", "clip_l_image", "rn50x64_image")
_BASELINES: Final = ("plain", "worker")


@dataclass(frozen=True)
class Report:
    """All results of one run. Rates are in images per second and TFLOP/s."""

    device: str
    dtype: str
    baseline_dtype: str
    images: int
    measurements: Mapping[str, Measurement]
    tower_tflop: float
    matmul_tflops: float
    captions: str
    agreement: Agreement | None = None

    @property
    def ratio(self) -> dict[str, float]:
        """How many times faster the engine is than each baseline, in images per second."""
        engine = self.measurements["engine"].images_per_s
        return {name: engine / self.measurements[name].images_per_s for name in _BASELINES if name in self.measurements}

    @property
    def tower_share(self) -> float:
        """The share of the engine's time that is spent inside the three image towers."""
        return self.measurements["engine"].share(TOWERS)

    @property
    def tflops(self) -> float:
        """The image towers' arithmetic divided by the engine's whole time."""
        return self.tower_tflop * self.measurements["engine"].images_per_s

    def as_json(self) -> dict[str, Any]:
        """Stages are in seconds per image; `ratio` is against baselines in `baseline_dtype`; `agreement` only if measured."""
        pipelines = {
            name: {
                "images_per_s": measurement.images_per_s,
                "stages": measurement.stages,
                "peak_memory_bytes": measurement.peak_memory_bytes,
            }
            for name, measurement in self.measurements.items()
        }
        return {
            "device": self.device,
            "dtype": self.dtype,
            "baseline_dtype": self.baseline_dtype,
            "images": self.images,
            **pipelines,
            "ratio": self.ratio,
            "tower_share": self.tower_share,
            "tflops": self.tflops,
            "matmul_tflops": self.matmul_tflops,
            **({} if self.agreement is None else {"agreement": asdict(self.agreement)}),
        }

    def write(self, file: Path) -> None:
        """Write the results as JSON."""
        file.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")

    def print(self, out: Console) -> None:
        """Print the results as tables."""
        out.print(f"{self.device}, {self.dtype} (baselines {self.baseline_dtype})", highlight=False)
        out.print(self.captions, highlight=False)
        out.print(self._table())
        out.print(
            f"inside the image towers: {self.tower_share:.0%} of the engine's time\n"
            f"image towers' arithmetic over the engine's whole time: {self.tflops:.3f} TFLOP/s, "
            f"{self.tflops / self.matmul_tflops:.0%} of the {self.matmul_tflops:.3f} TFLOP/s of a matrix product here",
            highlight=False,
        )

    def _table(self) -> Table:
        """Images per second (seconds per image) by stage and pipeline, then the totals."""
        table = Table(title="Images a second (seconds an image)", title_justify="left")
        table.add_column("stage", no_wrap=True)
        for name in self.measurements:
            table.add_column(name, justify="right", no_wrap=True)
        stages = dict.fromkeys(stage for measurement in self.measurements.values() for stage in measurement.stages)
        for stage in sorted(stages, key=lambda name: name == OTHER):
            table.add_row(stage, *(_rate(measurement.stages.get(stage)) for measurement in self.measurements.values()))
        table.add_section()
        table.add_row(
            "end to end", *(_rate(measurement.seconds_an_image) for measurement in self.measurements.values())
        )
        times = {name: f"{ratio:.2f} times" for name, ratio in self.ratio.items()}
        table.add_row("engine is faster", *(times.get(name, "") for name in self.measurements))
        table.add_row(
            "towers' TFLOP/s",
            *(f"{self.tower_tflop * measurement.images_per_s:.3f}" for measurement in self.measurements.values()),
        )
        table.add_row(
            "peak memory, GiB",
            *(f"{measurement.peak_memory_bytes / (1 << 30):.2f}" for measurement in self.measurements.values()),
        )
        return table

    def print_agreement(self, out: Console) -> None:
        """Print the agreement with float32, if it was measured."""
        if self.agreement is not None:
            agreement = self.agreement
            final = "none" if agreement.rn50x64_correlation is None else f"{agreement.rn50x64_correlation:.3f}"
            out.print(
                f"{self.dtype} against float32, the same captions of {agreement.samples} images: same winner "
                f"{agreement.same_winner:.0%}, same five {agreement.same_top:.0%}, rank correlation "
                f"{agreement.clip_l_correlation:.3f} (ViT-L/14) and {final} (RN50x64), "
                f"largest difference of a score {agreement.largest_difference:.4f}",
                highlight=False,
            )
            if agreement.same_captions_alone is not None:
                out.print(
                    f"in {self.dtype}, drawn alone and in batches: the same captions for {agreement.same_captions_alone:.1%} "
                    "of images",
                    highlight=False,
                )


def _rate(seconds: float | None) -> str:
    if not seconds:
        return ""
    rate = 1 / seconds
    return f"{rate:.0f} ({seconds:.4f})" if rate >= 100 else f"{rate:.3g} ({seconds:.3g})"


def rates_table(title: str, rates: Sequence[SizeRate]) -> Table:
    """Images per second by batch size, with a note per row."""
    table = Table(title=title, title_justify="left")
    table.add_column("batch size", justify="right")
    table.add_column("images/s", justify="right")
    table.add_column("note")
    for row in rates:
        rate = "" if row.images_per_s is None else f"{row.images_per_s:.3f}"
        table.add_row(str(row.batch_size), rate, Text(row.note))
    return table
