"""This project's engine, driven as the assets drive it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.bench.models import Models
from laion_coco_assets.bench.pipelines import best_first
from laion_coco_assets.bench.script import Script
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.sampler import Captioner
from laion_coco_assets.captioning.scorer import Scorer


@dataclass(frozen=True)
class Ranking:
    """One image's captions and what both CLIPs say: `final` are the scores of the places `top`, in its order."""

    captions: tuple[str, ...]
    scores: NDArray[np.float64]
    top: tuple[int, ...]
    final: NDArray[np.float64]

    @property
    def winner(self) -> str:
        """The caption that is published; empty when there is none."""
        return self.captions[self.top[best_first(self.final.tolist(), 1)[0]]] if self.top else ""


class Engine:
    """Implements `Pipeline`."""

    def __init__(self, models: Models, script: Script | None, clock: Clock = NO_CLOCK, batch_size: int = 0) -> None:
        captioner = Captioner if script is None else ScriptedCaptioner
        self._captioner = captioner(models.blip, models.settings, batch_size, clock)
        if isinstance(self._captioner, ScriptedCaptioner) and script is not None:
            self._captioner.follow(script)
        self._clip_l = Scorer(models.clip_l, batch_size, 16 * batch_size, clock, "clip_l")
        self._rn50x64 = Scorer(models.rn50x64, batch_size, 16 * batch_size, clock, "rn50x64")
        self._keep = models.keep

    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        """See `Pipeline`."""
        return [each.winner for each in self.rank(images, self.caption(images, sample_ids))]

    def caption(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Each image's distinct captions."""
        return [each.captions for each in self._captioner.caption(images, sample_ids)]

    def rank(self, images: Sequence[Image.Image], captions: Sequence[tuple[str, ...]]) -> list[Ranking]:
        """What the CLIPs say of each image's captions."""
        scores = self._clip_l.score(images, captions)
        tops = [tuple(best_first(each.tolist(), self._keep)) for each in scores]
        kept = [[own[place] for place in top] for own, top in zip(captions, tops, strict=True)]
        finals = self._rn50x64.score(images, kept)
        return [Ranking(*each) for each in zip(captions, scores, tops, finals, strict=True)]


class ScriptedCaptioner(Captioner):
    """Expects the script's words, samples as ever, then writes what the script says instead of what it drew."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._script: Script | None = None

    def follow(self, script: Script) -> None:
        """Set the script."""
        self._script = script

    def _expectation(self, sample_ids: Sequence[str], tree: Any, step: int, logits: torch.Tensor) -> torch.Tensor:
        if self._script is None:
            return logits
        written = self._script.written(sample_ids, tree.images, tree.candidates, step)
        rows, tokens = torch.from_numpy(np.stack([tree.rows, written])).to(logits.device)
        return self._script.expect(logits, rows, tokens)

    def _outcome(
        self,
        sample_ids: Sequence[str],
        tree: Any,
        step: int,
        tokens: NDArray[np.int64],
        ended: NDArray[np.bool_],
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if self._script is None:
            return super()._outcome(sample_ids, tree, step, tokens, ended)
        written = self._script.written(sample_ids, tree.images, tree.candidates, step)
        return written, written == self._script.end_token
