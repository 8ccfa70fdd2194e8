"""What the benchmark found, as a table for people and as the JSON that others read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from laion_coco_assets.bench.agreement import Agreement
from laion_coco_assets.bench.clock import OTHER
from laion_coco_assets.bench.measure import Measurement
from laion_coco_assets.bench.sizes import SizeRate

TOWERS: Final = ("blip_image", "clip_l_image", "rn50x64_image")
_BASELINES: Final = ("plain", "worker")


@dataclass(frozen=True)
class Report:
    """Everything that one run of the benchmark found; rates in images and TFLOP a second."""

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
        """How many times as many images a second as a baseline the engine does."""
        engine = self.measurements["engine"].images_per_s
        return {name: engine / self.measurements[name].images_per_s for name in _BASELINES if name in self.measurements}

    @property
    def tower_share(self) -> float:
        """Of the engine's time, what is spent inside the three image towers."""
        return self.measurements["engine"].share(TOWERS)

    @property
    def tflops(self) -> float:
        """The image towers' arithmetic over the engine's whole time."""
        return self.tower_tflop * self.measurements["engine"].images_per_s

    def as_json(self) -> dict[str, Any]:
        """Seconds an image for each stage; `ratio` is to baselines in `baseline_dtype`; the agreement when there is one."""
        pipelines = {
            name: {
                "images_per_s": each.images_per_s,
                "stages": each.stages,
                "peak_memory_bytes": each.peak_memory_bytes,
            }
            for name, each in self.measurements.items()
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
        """As JSON."""
        file.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")

    def print(self, out: Console) -> None:
        """As tables."""
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
        """By stage and pipeline, images a second and seconds an image; then what the whole comes to."""
        table = Table(title="Images a second (seconds an image)", title_justify="left")
        table.add_column("stage", no_wrap=True)
        found = self.measurements
        for name in found:
            table.add_column(name, justify="right", no_wrap=True)
        stages = dict.fromkeys(stage for each in found.values() for stage in each.stages)
        for stage in sorted(stages, key=lambda name: name == OTHER):
            table.add_row(stage, *(_rate(each.stages.get(stage)) for each in found.values()))
        table.add_section()
        table.add_row("end to end", *(_rate(each.seconds_an_image) for each in found.values()))
        times = {name: f"{ratio:.2f} times" for name, ratio in self.ratio.items()}
        table.add_row("engine is faster", *(times.get(name, "") for name in found))
        table.add_row("towers' TFLOP/s", *(f"{self.tower_tflop * each.images_per_s:.3f}" for each in found.values()))
        table.add_row("peak memory, GiB", *(f"{each.peak_memory_bytes / (1 << 30):.2f}" for each in found.values()))
        return table

    def print_agreement(self, out: Console) -> None:
        """In words, if there is one."""
        if self.agreement is not None:
            found = self.agreement
            final = "none" if found.rn50x64_correlation is None else f"{found.rn50x64_correlation:.3f}"
            out.print(
                f"{self.dtype} against float32, the same captions of {found.samples} images: same winner "
                f"{found.same_winner:.0%}, same five {found.same_top:.0%}, rank correlation "
                f"{found.clip_l_correlation:.3f} (ViT-L/14) and {final} (RN50x64), "
                f"largest difference of a score {found.largest_difference:.4f}",
                highlight=False,
            )
            if found.same_captions_alone is not None:
                out.print(
                    f"in {self.dtype}, drawn alone and in batches: the same captions for {found.same_captions_alone:.1%} "
                    "of images",
                    highlight=False,
                )


def _rate(seconds: float | None) -> str:
    if not seconds:
        return ""
    rate = 1 / seconds
    return f"{rate:.0f} ({seconds:.4f})" if rate >= 100 else f"{rate:.3g} ({seconds:.3g})"


def rates_table(title: str, rates: Sequence[SizeRate]) -> Table:
    """Images a second by batch size, and what there is to know of a row."""
    table = Table(title=title, title_justify="left")
    table.add_column("batch size", justify="right")
    table.add_column("images/s", justify="right")
    table.add_column("note")
    for each in rates:
        rate = "" if each.images_per_s is None else f"{each.images_per_s:.3f}"
        table.add_row(str(each.batch_size), rate, Text(each.note))
    return table
