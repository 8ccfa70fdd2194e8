"""Runs this project's engine as the assets run it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.bench.measured_models import Models
from laion_coco_assets.bench.pipelines import best_first
from laion_coco_assets.bench.script import Script
from laion_coco_assets.captioning.blip_captioner import BlipCaptioner
from laion_coco_assets.captioning.clip_ranker import ClipRanker
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.group import Group


@dataclass(frozen=True)
class Ranking:
    """One image's captions and the scores of both CLIPs. `final` are the scores of the places in `top`, in its order."""

    captions: tuple[str, ...]
    scores: NDArray[np.float64]
    top: tuple[int, ...]
    final: NDArray[np.float64]

    @property
    def winner(self) -> str:
        """The caption that would be published; empty without captions."""
        return self.captions[self.top[best_first(self.final.tolist(), 1)[0]]] if self.top else ""


class Engine:
    """Implements `Pipeline`."""

    def __init__(self, models: Models, script: Script | None, clock: Clock = NO_CLOCK, batch_size: int = 0) -> None:
        captioner = BlipCaptioner if script is None else ScriptedCaptioner
        self._captioner = captioner(models.blip, models.settings, batch_size, clock)
        if isinstance(self._captioner, ScriptedCaptioner) and script is not None:
            self._captioner.follow(script)
        self._clip_l = ClipRanker(models.clip_l, batch_size, 16 * batch_size, clock, "clip_l")
        self._rn50x64 = ClipRanker(models.rn50x64, batch_size, 16 * batch_size, clock, "rn50x64")
        self._keep = models.keep

    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        """See `Pipeline`."""
        return [ranking.winner for ranking in self.rank(images, self.caption(images, sample_ids))]

    def caption(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Each image's distinct captions."""
        return [candidates.captions for candidates in self._captioner.caption(images, sample_ids)]

    def rank(self, images: Sequence[Image.Image], captions: Sequence[tuple[str, ...]]) -> list[Ranking]:
        """Score each image's captions with both CLIPs."""
        scores = self._clip_l.score_images(images, captions)
        tops = [tuple(best_first(own.tolist(), self._keep)) for own in scores]
        kept = [[own[place] for place in top] for own, top in zip(captions, tops, strict=True)]
        finals = self._rn50x64.score_images(images, kept)
        return [Ranking(*parts) for parts in zip(captions, scores, tops, finals, strict=True)]


class ScriptedCaptioner(BlipCaptioner):
    """Makes the script's words likely, samples as usual, then writes the script's tokens instead of the drawn ones."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._script: Script | None = None

    def follow(self, script: Script) -> None:
        """Set the script."""
        self._script = script

    def _expectation(self, group: Group) -> torch.Tensor:
        if self._script is None:
            return group.logits
        rows, tokens = torch.from_numpy(np.stack([group.tree.rows, _written(self._script, group)])).to(
            group.logits.device
        )
        return self._script.expect(group.logits, rows, tokens)

    def _outcome(
        self, group: Group, tokens: NDArray[np.int64], ends: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if self._script is None:
            return super()._outcome(group, tokens, ends)
        written = _written(self._script, group)
        return written, written == self._script.end_token


def _written(script: Script, group: Group) -> NDArray[np.int64]:
    """The script's token for each live candidate at this step."""
    return script.written(group.sample_ids, group.tree.images, group.tree.candidates, group.step)
