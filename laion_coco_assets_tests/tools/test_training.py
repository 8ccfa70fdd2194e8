"""The demo's models can be trained anew, step by step, and an interruption changes nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BlipForConditionalGeneration

from laion_coco_assets_tests.programs import exit_code
from tools.demo import training
from tools.demo.train import main
from tools.demo.training import TrainingSettings, train


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainingSettings(tmp_path / "whole", pictures=16, steps=3, batch=4)
    whole = train("blip", settings).module.state_dict()
    monkeypatch.setattr(training, "_STEPS_A_CHECKPOINT", 1)
    steps = []

    def two_steps(*arguments: Any) -> float:
        if len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(step(*arguments))
        return steps[-1]

    step = training._step
    settings = replace(settings, work_dir=tmp_path / "resumed")
    with monkeypatch.context() as patch:
        patch.setattr(training, "_step", two_steps)
        with pytest.raises(KeyboardInterrupt):
            train("blip", settings)
    resumed = train("blip", settings).module.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_the_command_saves_a_published_blip_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = ["--work-dir", str(tmp_path / "work"), "--out", str(tmp_path / "weights")]
    arguments = ["blip", *folders, "--pictures", "16", "--steps", "1", "--batch", "4"]
    assert exit_code(main, *arguments, monkeypatch=monkeypatch) == 0
    BlipForConditionalGeneration.from_pretrained(tmp_path / "weights" / "blip")
    assert (tmp_path / "work" / "blip.checkpoint.pt").exists()
