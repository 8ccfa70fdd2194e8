"""`laion-coco bench`, from its flags to its report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from laion_coco_assets.bench.agreement import Agreement, compare
from laion_coco_assets.bench.clock import LapClock, matmul_tflops
from laion_coco_assets.bench.engine import Engine
from laion_coco_assets.bench.flops import tower_tflop
from laion_coco_assets.bench.images import load_images
from laion_coco_assets.bench.measure import Contestant, measure, warm_up
from laion_coco_assets.bench.models import Models, Size, profile_models, random_models
from laion_coco_assets.bench.pipelines import PipelineFactory
from laion_coco_assets.bench.plain import Plain, bytes_an_image
from laion_coco_assets.bench.report import Report, rates_table
from laion_coco_assets.bench.script import Script, draw_script
from laion_coco_assets.bench.sizes import SizeRate, climb, fastest, sweep
from laion_coco_assets.bench.worker import Worker
from laion_coco_assets.captioning.batching import most_at_once, pick_batch_size, release_memory
from laion_coco_assets.captioning.device import resolve_device, resolve_dtype
from laion_coco_assets.contract.profile import Profile, load_profile
from laion_coco_assets.errors import UserError

_FACTORIES: Final[dict[str, PipelineFactory]] = {"engine": Engine, "plain": Plain, "worker": Worker}


@dataclass(frozen=True)
class BenchSettings:
    """The command's flags. `profile` empty: random weights of `size`. Batch sizes: 0 picks itself."""

    profile: str = ""
    size: Size = Size.FULL
    images: str = ""
    count: int = 8
    plain_count: int = 4
    worker_count: int = 1
    rounds: int = 2
    device: str = "auto"
    dtype: str = "auto"
    baseline_dtype: str = ""
    batch_size: int = 0
    baseline_batch_size: int = 0
    sweep: tuple[int, ...] = ()
    baseline_sweep: tuple[int, ...] = ()
    pipelines: tuple[str, ...] = ("engine", "plain", "worker")
    json: Path | None = None


def run_bench(settings: BenchSettings, out: Console, err: Console) -> Report:
    """Build the models, measure in turn, print, write the JSON.

    Raises:
        UserError: impossible flags; a model, device or dtype that is not to be had.
    """
    _refuse_impossible(settings)
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    baseline_dtype = resolve_dtype(settings.baseline_dtype, device) if settings.baseline_dtype else dtype
    images = load_images(settings.images, settings.count)
    sample_ids = [f"{number:032x}" for number in range(len(images))]
    profile = load_profile(settings.profile) if settings.profile else None

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    ) as bars:
        building = bars.add_task("models", total=2)
        models = _build(settings, profile, device, dtype)
        bars.advance(building)
        baselines = _build(
            settings, profile, device, baseline_dtype
        )  # as loaded: the engine changes the ones it is given
        bars.advance(building)
        tflop = tower_tflop(baselines)
        script = _script(models, sample_ids)
        build = _Builder(models, baselines, script, device)
        sizing = bars.add_task("batch sizes", total=None)
        plain_size = _sizes(settings, build, images, sample_ids, out)
        bars.update(sizing, total=1, completed=1)
        contestants = _contestants(settings, build, plain_size)
        warming = bars.add_task("warm-up", total=len(contestants))
        for name, each in contestants.items():
            if name != "worker" or device.type != "cpu":  # minutes an image, and nothing there to warm up
                warm_up(each, images, sample_ids, device)
            bars.advance(warming)
        measuring = bars.add_task("measuring", total=settings.rounds * len(contestants))
        rate = matmul_tflops(device, dtype)
        measurements = measure(
            contestants, images, sample_ids, device, settings.rounds, lambda _: bars.advance(measuring)
        )

    report = Report(
        device=_name(device),
        dtype=str(dtype).removeprefix("torch."),
        baseline_dtype=str(baseline_dtype).removeprefix("torch."),
        images=len(images),
        measurements=measurements,
        tower_tflop=tflop,
        matmul_tflops=rate,
        captions=_describe(script),
    )
    report.print(out)
    if settings.json is not None:
        report.write(settings.json)
    if dtype == torch.float32:
        return report
    # Needs a third set of models, and is no part of the measurement: what was measured is safe by now.
    del contestants, baselines, build
    with err.status(f"{report.dtype} against float32"):
        report = replace(report, agreement=_agreement(settings, profile, models, script, images, sample_ids))
    report.print_agreement(out)
    if settings.json is not None:
        report.write(settings.json)
    return report


def _refuse_impossible(settings: BenchSettings) -> None:
    unknown = [name for name in settings.pipelines if name not in _FACTORIES]
    if unknown or "engine" not in settings.pipelines:
        there = f"holds {', '.join(unknown)}" if unknown else "does not"
        raise UserError(f"--pipelines: must hold engine, and may hold plain and worker; it {there}")
    if settings.baseline_sweep and settings.baseline_batch_size:
        raise UserError(
            "--baseline-sweep finds the plain pipeline's batch size, --baseline-batch-size sets it: give one"
        )
    if settings.json is not None and not settings.json.absolute().parent.is_dir():
        raise UserError(f"--json {settings.json}: its folder does not exist")
    for flag, sizes in (("--sweep", settings.sweep), ("--baseline-sweep", settings.baseline_sweep)):
        if sizes and 2 * max(sizes) > settings.count:
            raise UserError(
                f"{flag}: two batches of {max(sizes)} images are measured: --count {2 * max(sizes)} or more"
            )


@dataclass(frozen=True)
class _Builder:
    models: Models
    baselines: Models
    script: Script | None
    device: torch.device

    def __call__(self, name: str, batch_size: int, count: int) -> Contestant:
        clock = LapClock(self.device)
        models = self.models if name == "engine" else self.baselines
        pipeline = _FACTORIES[name](models, self.script, clock, batch_size)
        return Contestant(pipeline, clock, batch_size or most_at_once(self.device), count)


def _build(settings: BenchSettings, profile: Profile | None, device: torch.device, dtype: torch.dtype) -> Models:
    if profile is not None:
        return profile_models(profile, device, dtype)
    return random_models(settings.size, device, dtype)


def _script(models: Models, sample_ids: Sequence[str]) -> Script | None:
    """None when the weights are real: their captions are as long and as many as they are."""
    if not models.words:
        return None
    return draw_script(
        sample_ids,
        models.words,
        models.blip.end_token,
        candidates=models.settings.candidates,
    )


def _contestants(settings: BenchSettings, build: _Builder, plain_size: int) -> dict[str, Contestant]:
    whole_batches = -(-settings.plain_count // plain_size) * plain_size
    of_each = {
        "engine": (settings.batch_size, settings.count),
        "plain": (plain_size, min(whole_batches, settings.count // plain_size * plain_size or settings.count)),
        "worker": (1, min(settings.worker_count, settings.count)),
    }
    return {name: build(name, *of_each[name]) for name in settings.pipelines}


def _sizes(
    settings: BenchSettings, build: _Builder, images: Sequence[Image.Image], sample_ids: Sequence[str], out: Console
) -> int:
    """Prints the tables over batch sizes; the plain pipeline's own: what was asked for, or the fastest found."""

    def show(name: str, rates: Sequence[SizeRate]) -> int | None:
        out.print(rates_table(f"{name}, by batch size", rates))
        return fastest(rates)

    if settings.sweep:
        make = partial(build, "engine", count=settings.count)
        show("engine", sweep(make, settings.sweep, images, sample_ids, build.device))
    if "plain" not in settings.pipelines:
        return 1
    make = partial(build, "plain", count=min(settings.plain_count, settings.count))
    found = None
    if settings.baseline_sweep:
        found = show("plain", sweep(make, settings.baseline_sweep, images, sample_ids, build.device))
    elif not settings.baseline_batch_size:
        most = settings.count
        if build.device.type == "cpu":  # where too much is not an error, but the end of the process
            most = pick_batch_size(build.device, 2 * bytes_an_image(build.baselines), most)
        found = show("plain", climb(make, most, images, sample_ids, build.device))
    return found or settings.baseline_batch_size or 1


def _agreement(
    settings: BenchSettings,
    profile: Profile | None,
    models: Models,
    script: Script | None,
    images: Sequence[Image.Image],
    sample_ids: Sequence[str],
) -> Agreement | None:
    """The engine's captions ranked by its own CLIPs and by the same in float32; None when there was nothing to rank.

    Unless they are scripted, they are drawn once more for each image alone.
    """
    engine = Engine(models, script, batch_size=settings.batch_size)
    captions = engine.caption(images, sample_ids)
    half = engine.rank(images, captions)
    alone = None
    if script is None:
        drawn = Engine(models, None, batch_size=1).caption(images, sample_ids)
        alone = sum(a == b for a, b in zip(captions, drawn, strict=True)) / len(captions)
    del engine
    release_memory(models.blip.device)
    exact = _build(settings, profile, models.blip.device, torch.float32)
    found = compare(half, Engine(exact, script, batch_size=settings.batch_size).rank(images, captions))
    return found and replace(found, same_captions_alone=alone)


def _describe(script: Script | None) -> str:
    if script is None:
        return "captions: the weights' own"
    return (
        f"captions: scripted, the same for all; {script.mean_tokens:.1f} tokens on average, "
        f"{script.mean_distinct:.1f} of {len(next(iter(script.captions.values())))} distinct, "
        f"{script.mean_prefixes:.0f} distinct prefixes an image"
    )


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "mps"
    return f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}" + (
        ", bfloat16 instructions" if _has_bfloat16_instructions() else ", no bfloat16 instructions"
    )


def _has_bfloat16_instructions() -> bool:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(flag in facts for flag in ("avx512_bf16", "amx_bf16", " bf16"))
