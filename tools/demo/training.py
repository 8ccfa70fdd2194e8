"""Trains one model, from its first step or its checkpoint to its last step.

A step's random numbers depend only on seed and step, so a resumed training equals an uninterrupted one.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from laion_coco_assets.demo.scenes import Scene
from tools.demo.blip_trainee import BlipTrainee
from tools.demo.clip_trainee import ClipTrainee
from tools.demo.starting_weights import copy_image_tower, copy_text_tower
from tools.demo.trainee import CLIP_MEAN, CLIP_STD, SIZES, Trainee
from tools.demo.training_pictures import TrainingPictures, draw_training_pictures
from tools.demo.training_scenes import mirrored

_STEPS_A_LINE: Final = 100
_STEPS_A_CHECKPOINT: Final = 250


@dataclass(frozen=True)
class TrainingSettings:
    """The command's flags; `rate` is the peak learning rate. The last three name checkpoints in `work_dir`."""

    work_dir: Path
    pictures: int = 30_000
    steps: int = 6000
    batch: int = 64
    rate: float = 1e-3
    seed: int = 20220915
    text_from: str = ""
    start_from: str = ""
    image_from: str = ""

    def checkpoint(self, name: str) -> Path:
        """The path of the checkpoint of the model `name`."""
        return self.work_dir / f"{name}.checkpoint.pt"


def train(name: str, settings: TrainingSettings) -> Trainee:
    """Train one model for `settings.steps` steps, from its checkpoint in `settings.work_dir` if one exists."""
    torch.manual_seed(settings.seed)
    trainee: Trainee = BlipTrainee() if name == "blip" else ClipTrainee(name)
    pictures = draw_training_pictures(settings.work_dir, SIZES[name], settings.pictures, "train", settings.seed)
    optimizer = _optimizer(trainee.module, settings.rate)
    done = _resume(trainee, optimizer, settings.checkpoint(name))
    if not done:
        _start(trainee, settings)
    started, losses = time.monotonic(), list[float]()
    for step in range(done, settings.steps):
        rng = Random(f"{name} {settings.seed} {step}")
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, settings.steps, settings.rate)
        chosen = np.array([rng.randrange(settings.pictures) for _ in range(settings.batch)])
        losses.append(_step(trainee, optimizer, trainee.loss(*_batch(pictures, chosen, rng), rng)))
        if (step + 1) % _STEPS_A_LINE == 0:
            pace = (time.monotonic() - started) / (step + 1 - done)
            print(f"{name} step {step + 1} loss {sum(losses) / len(losses):.4f} {pace:.3f} s/step", flush=True)
            losses.clear()
        if (step + 1) % _STEPS_A_CHECKPOINT == 0 or step + 1 == settings.steps:
            _save(trainee, optimizer, step + 1, settings.checkpoint(name))
    trainee.module.eval()
    return trainee


def _optimizer(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    decayed = [parameter for parameter in module.parameters() if parameter.ndim >= 2]
    plain = [parameter for parameter in module.parameters() if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6)


def _resume(trainee: Trainee, optimizer: torch.optim.Optimizer, checkpoint: Path) -> int:
    """Load the checkpoint if it exists. Returns the number of steps done."""
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    trainee.module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _start(trainee: Trainee, settings: TrainingSettings) -> None:
    """Copy the weights that the settings take from other checkpoints."""
    if settings.start_from:
        checkpoint = settings.checkpoint(settings.start_from)
        trainee.module.load_state_dict(torch.load(checkpoint, weights_only=True)["module"])
    if settings.text_from:
        copy_text_tower(trainee, settings.checkpoint(settings.text_from))
    if settings.image_from and isinstance(trainee, ClipTrainee):
        copy_image_tower(trainee, settings.checkpoint(settings.image_from))


def _step(trainee: Trainee, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(trainee.module.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _save(trainee: Trainee, optimizer: torch.optim.Optimizer, step: int, checkpoint: Path) -> None:
    state = {"module": trainee.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, checkpoint.with_suffix(".part"))
    checkpoint.with_suffix(".part").rename(checkpoint)


def _batch(
    pictures: TrainingPictures, chosen: npt.NDArray[np.int64], rng: Random
) -> tuple[Tensor, Tensor, list[Scene]]:
    """Normalised pixels (batch, 3, size, size), cells (batch, 64, 3) and scenes; half of them flipped left to right."""
    images = torch.from_numpy(pictures.images[chosen]).float().permute(0, 3, 1, 2) / 255
    cells = torch.from_numpy(pictures.cells[chosen].astype(np.int64))
    scenes = [pictures.scenes[index] for index in chosen]
    flip = torch.tensor([rng.random() < 0.5 for _ in scenes])
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    cells = torch.where(flip[:, None, None, None], cells.flip(2), cells).flatten(1, 2)
    scenes = [mirrored(scene) if turned else scene for scene, turned in zip(scenes, flip.tolist(), strict=True)]
    light = torch.tensor([rng.uniform(0.9, 1.1) for _ in scenes])[:, None, None, None]
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return ((images * light).clamp(0, 1) - mean) / std, cells, scenes


def _rate(step: int, steps: int, peak: float) -> float:
    """Warm-up over 200 steps, then constant, then a cosine to zero over the last 40 %."""
    decay = max(0.0, (step - 0.6 * steps) / (0.4 * steps))
    return peak * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * decay))
