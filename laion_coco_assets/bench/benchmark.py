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
from laion_coco_assets.bench.engine import Engine
from laion_coco_assets.bench.flops import matmul_tflops, tower_tflop
from laion_coco_assets.bench.input_images import load_images
from laion_coco_assets.bench.lap_clock import LapClock
from laion_coco_assets.bench.measured_models import Models, Size, profile_models, random_models
from laion_coco_assets.bench.pipelines import PipelineFactory
from laion_coco_assets.bench.plain import Plain, bytes_an_image
from laion_coco_assets.bench.report import Report, rates_table
from laion_coco_assets.bench.rounds import Contestant, measure, warm_up
from laion_coco_assets.bench.script import Script, draw_script
from laion_coco_assets.bench.sizes import SizeRate, climb, fastest, sweep
from laion_coco_assets.bench.worker import Worker
from laion_coco_assets.captioning.batching import most_at_once, pick_batch_size, release_memory
from laion_coco_assets.captioning.device import resolve_device, resolve_dtype
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.errors import UserError

_FACTORIES: Final[dict[str, PipelineFactory]] = {"engine": Engine, "plain": Plain, "worker": Worker}


@dataclass(frozen=True)
class BenchSettings:
    """The command's flags. `profile` empty: random weights of `size`. Batch size 0: chosen automatically."""

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


@dataclass(frozen=True)
class _Inputs:
    """What the flags mean on this machine: the device, the precisions, the images. `profile` None: random weights."""

    device: torch.device
    dtype: torch.dtype
    baseline_dtype: torch.dtype
    images: Sequence[Image.Image]
    sample_ids: Sequence[str]
    profile: Profile | None


def run_bench(settings: BenchSettings, out: Console, err: Console) -> Report:
    """Build the models, measure in turn, print, write the JSON.

    Raises:
        UserError: impossible flags, or a model, device or dtype that is not available.
    """
    _refuse_impossible(settings)
    inputs = _read_inputs(settings)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    ) as bars:
        report, models, script = _measure(settings, inputs, out, bars)
    report.print(out)
    _write(report, settings)
    if inputs.dtype == torch.float32:
        return report
    # This needs a third set of models, so it comes after the report is written. The baselines are freed by now.
    with err.status(f"{report.dtype} against float32"):
        report = replace(report, agreement=_agreement(settings, inputs, models, script))
    report.print_agreement(out)
    _write(report, settings)
    return report


def _read_inputs(settings: BenchSettings) -> _Inputs:
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    baseline_dtype = resolve_dtype(settings.baseline_dtype, device) if settings.baseline_dtype else dtype
    images = load_images(settings.images, settings.count)
    return _Inputs(
        device=device,
        dtype=dtype,
        baseline_dtype=baseline_dtype,
        images=images,
        sample_ids=[f"{number:032x}" for number in range(len(images))],
        profile=load_profile(settings.profile) if settings.profile else None,
    )


def _measure(
    settings: BenchSettings, inputs: _Inputs, out: Console, bars: Progress
) -> tuple[Report, Models, Script | None]:
    """The report, and the engine's models with their script for the comparison of precisions."""
    models, baselines = _build_both(settings, inputs, bars)
    tflop = tower_tflop(baselines)
    script = _script(models, inputs.sample_ids)
    build = _Builder(models, baselines, script, inputs.device)
    contestants = _warm_contestants(settings, inputs, build, out, bars)
    measuring = bars.add_task("measuring", total=settings.rounds * len(contestants))
    rate = matmul_tflops(inputs.device, inputs.dtype)
    measurements = measure(
        contestants, inputs.images, inputs.sample_ids, inputs.device, settings.rounds, lambda: bars.advance(measuring)
    )
    report = Report(
        device=_name(inputs.device),
        dtype=str(inputs.dtype).removeprefix("torch."),
        baseline_dtype=str(inputs.baseline_dtype).removeprefix("torch."),
        images=len(inputs.images),
        measurements=measurements,
        tower_tflop=tflop,
        matmul_tflops=rate,
        captions=_describe(script),
    )
    return report, models, script


def _build_both(settings: BenchSettings, inputs: _Inputs, bars: Progress) -> tuple[Models, Models]:
    """The engine's models and the baselines'. The engine changes the ones that it is given."""
    building = bars.add_task("models", total=2)
    models = _build(settings, inputs, inputs.dtype)
    bars.advance(building)
    baselines = _build(settings, inputs, inputs.baseline_dtype)
    bars.advance(building)
    return models, baselines


def _warm_contestants(
    settings: BenchSettings, inputs: _Inputs, build: "_Builder", out: Console, bars: Progress
) -> dict[str, Contestant]:
    """The pipelines with the batch sizes that they are measured with, warmed up."""
    sizing = bars.add_task("batch sizes", total=None)
    plain_size = _sizes(settings, build, inputs, out)
    bars.update(sizing, total=1, completed=1)
    contestants = _contestants(settings, build, plain_size)
    warming = bars.add_task("warm-up", total=len(contestants))
    for name, contestant in contestants.items():
        if name != "worker" or inputs.device.type != "cpu":  # it takes minutes an image there, and needs no warm-up
            warm_up(contestant, inputs.images, inputs.sample_ids, inputs.device)
        bars.advance(warming)
    return contestants


def _write(report: Report, settings: BenchSettings) -> None:
    if settings.json is not None:
        report.write(settings.json)


def _refuse_impossible(settings: BenchSettings) -> None:
    unknown = [name for name in settings.pipelines if name not in _FACTORIES]
    if unknown or "engine" not in settings.pipelines:
        problem = f"{', '.join(unknown)} is unknown" if unknown else "engine is missing"
        raise UserError(f"--pipelines: must contain engine, and may contain plain and worker; {problem}")
    if settings.baseline_sweep and settings.baseline_batch_size:
        raise UserError(
            "--baseline-sweep finds the plain pipeline's batch size, --baseline-batch-size sets it: give one"
        )
    if settings.json is not None and not settings.json.absolute().parent.is_dir():
        raise UserError(f"--json {settings.json}: its folder does not exist")
    for flag, sizes in (("--sweep", settings.sweep), ("--baseline-sweep", settings.baseline_sweep)):
        if sizes and 2 * max(sizes) > settings.count:
            raise UserError(
                f"{flag}: two batches of {max(sizes)} images are measured; set --count to {2 * max(sizes)} or more"
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


def _build(settings: BenchSettings, inputs: _Inputs, dtype: torch.dtype) -> Models:
    if inputs.profile is not None:
        return profile_models(inputs.profile, inputs.device, dtype)
    return random_models(settings.size, inputs.device, dtype)


def _script(models: Models, sample_ids: Sequence[str]) -> Script | None:
    """None when the weights are real: they write captions of their own."""
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


def _sizes(settings: BenchSettings, build: _Builder, inputs: _Inputs, out: Console) -> int:
    """Print the tables over batch sizes. Returns the plain pipeline's: the one that the flags set, or the fastest."""

    def show(name: str, rates: Sequence[SizeRate]) -> int | None:
        out.print(rates_table(f"{name}, by batch size", rates))
        return fastest(rates)

    if settings.sweep:
        make = partial(build, "engine", count=settings.count)
        show("engine", sweep(make, settings.sweep, inputs.images, inputs.sample_ids, inputs.device))
    if "plain" not in settings.pipelines:
        return 1
    make = partial(build, "plain", count=min(settings.plain_count, settings.count))
    size = None
    if settings.baseline_sweep:
        size = show("plain", sweep(make, settings.baseline_sweep, inputs.images, inputs.sample_ids, inputs.device))
    elif not settings.baseline_batch_size:
        most = settings.count
        if inputs.device.type == "cpu":  # there, too large a batch ends the process instead of raising an error
            most = pick_batch_size(inputs.device, 2 * bytes_an_image(build.baselines), most)
        size = show("plain", climb(make, most, inputs.images, inputs.sample_ids, inputs.device))
    return size or settings.baseline_batch_size or 1


def _agreement(settings: BenchSettings, inputs: _Inputs, models: Models, script: Script | None) -> Agreement | None:
    """Rank the engine's captions with its own CLIPs and with the same CLIPs in float32. None: nothing to rank.

    Captions that are not scripted are drawn once more, for each image alone.
    """
    engine = Engine(models, script, batch_size=settings.batch_size)
    captions = engine.caption(inputs.images, inputs.sample_ids)
    half = engine.rank(inputs.images, captions)
    alone = None
    if script is None:
        drawn = Engine(models, None, batch_size=1).caption(inputs.images, inputs.sample_ids)
        alone = sum(a == b for a, b in zip(captions, drawn, strict=True)) / len(captions)
    del engine
    release_memory(inputs.device)
    exact = Engine(_build(settings, inputs, torch.float32), script, batch_size=settings.batch_size)
    agreement = compare(half, exact.rank(inputs.images, captions))
    return agreement and replace(agreement, same_captions_alone=alone)


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
