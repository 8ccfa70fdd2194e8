"""The plain pipeline: transformers' `generate` and open_clip, in batches, as a competent user writes it."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import LogitsProcessor, LogitsProcessorList

from laion_coco_assets.bench.measured_models import Models
from laion_coco_assets.bench.pipelines import best_first
from laion_coco_assets.bench.script import CERTAIN, Script
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.loading import Clip
from laion_coco_assets.captioning.preparing import threads_for

_TEXTS_AT_ONCE = 128


@dataclass(frozen=True)
class _Pixels:
    """A batch as input of each tower: float32 [images, 3, side, side] on the host, in pinned memory for a GPU."""

    blip: torch.Tensor
    clip_l: torch.Tensor
    rn50x64: torch.Tensor


class Plain:
    """Implements `Pipeline`. It uses generate's own cache of keys and values. An image's duplicates are dropped.

    The pixels of the next batch are made, stacked and pinned while this batch is computed, as a DataLoader does it, with
    as many threads as the engine.
    """

    def __init__(self, models: Models, script: Script | None, clock: Clock = NO_CLOCK, batch_size: int = 0) -> None:
        self._models, self._script, self._clock = models, script, clock
        self._batch_size = batch_size or 1
        self._limit = max(limit.tokens for limit in models.settings.max_lengths)

    @torch.inference_mode()
    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        """See `Pipeline`."""
        winners: list[str] = []
        with self._vision_watched():
            for begin, pixels in self._loaded(images):
                winners += self._run_batch(pixels, sample_ids[begin : begin + self._batch_size])
        return winners

    def _loaded(self, images: Sequence[Image.Image]) -> Iterator[tuple[int, _Pixels]]:
        """Each batch's first place and its pixels."""
        starts = range(0, len(images), self._batch_size)
        batches = [images[begin : begin + self._batch_size] for begin in starts]
        with ThreadPoolExecutor(threads_for(self._models.blip.device)) as pool, ThreadPoolExecutor(1) as collator:
            coming = deque(collator.submit(self._collate, pool, batch) for batch in batches[:1])
            for place, begin in enumerate(starts):
                coming.extend(collator.submit(self._collate, pool, batch) for batch in batches[place + 1 : place + 2])
                with self._clock.stage("preprocessing"):
                    pixels = coming.popleft().result()
                yield begin, pixels

    def _collate(self, pool: ThreadPoolExecutor, images: Sequence[Image.Image]) -> _Pixels:
        blip, clip_l, rn50x64 = zip(*pool.map(self._prepare, images), strict=True)
        stacked = [torch.stack(rows) for rows in (blip, clip_l, rn50x64)]
        if self._models.blip.device.type == "cuda":
            stacked = [table.pin_memory() for table in stacked]
        return _Pixels(*stacked)

    def _prepare(self, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        models = self._models
        return models.blip.preprocessing([image])[0], models.clip_l.preprocess(image), models.rn50x64.preprocess(image)

    def _run_batch(self, pixels: _Pixels, sample_ids: Sequence[str]) -> list[str]:
        models = self._models
        captions = self._caption(pixels.blip, sample_ids)
        scores = self._score("clip_l", models.clip_l, pixels.clip_l, captions)
        kept = [
            [own[place] for place in best_first(own_scores, models.keep)]
            for own, own_scores in zip(captions, scores, strict=True)
        ]
        finals = self._score("rn50x64", models.rn50x64, pixels.rn50x64, kept)
        return [own[best_first(own_finals, 1)[0]] if own else "" for own, own_finals in zip(kept, finals, strict=True)]

    def _caption(self, images: torch.Tensor, sample_ids: Sequence[str]) -> list[list[str]]:
        blip, settings = self._models.blip, self._models.settings
        prompt = prompt_tokens(self._models)
        with self._clock.stage("blip_decoding"):
            pixels = images.to(blip.device, non_blocking=True).to(blip.dtype)
            whole = torch.tensor([[*prompt, blip.end_token]], device=blip.device).repeat(len(images), 1)
            processors = LogitsProcessorList()
            if self._script is not None:
                processors.append(_Scripted(self._script, sample_ids, len(prompt), self._limit, blip.device))
            rows = blip.model.generate(
                pixels,
                whole,
                do_sample=True,
                top_p=settings.top_p,
                top_k=settings.top_k,
                temperature=settings.temperature,
                repetition_penalty=settings.repetition_penalty,
                min_new_tokens=settings.min_length,
                max_new_tokens=self._limit,
                num_return_sequences=settings.candidates,
                logits_processor=processors,
            )
            texts = blip.tokenizer.batch_decode(rows.tolist(), skip_special_tokens=True)
        stripped = [text.removeprefix(settings.prompt.strip()).strip() for text in texts]
        by_image = [
            stripped[begin : begin + settings.candidates] for begin in range(0, len(texts), settings.candidates)
        ]
        return [[text for text in dict.fromkeys(own) if text] for own in by_image]

    def _score(
        self, name: str, clip: Clip, images: torch.Tensor, captions: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        with self._clock.stage(f"{name}_image"):
            pixels = images.to(clip.device, non_blocking=True).to(clip.dtype)
            image_rows = clip.model.encode_image(pixels, normalize=True).float()
        with self._clock.stage(f"{name}_text"):
            texts = [text for own in captions for text in own]
            tokens = clip.tokenizer(texts).to(clip.device)
            encoded = [
                clip.model.encode_text(chunk, normalize=True).float() for chunk in torch.split(tokens, _TEXTS_AT_ONCE)
            ]
            split = torch.split(torch.cat(encoded), [len(own) for own in captions])
            return [(rows @ image).tolist() for rows, image in zip(split, image_rows, strict=True)]

    @contextmanager
    def _vision_watched(self) -> Iterator[None]:
        """Time the vision tower, which `generate` calls, as its own stage."""
        vision, entered = self._models.blip.model.vision_model, []

        def begin(*_: Any) -> None:
            entered.append(self._clock.stage("blip_image"))
            entered[-1].__enter__()

        def end(*_: Any) -> None:
            entered.pop().__exit__(None, None, None)

        hooks = [vision.register_forward_pre_hook(begin), vision.register_forward_hook(end)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class _Scripted(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed here
    """Raises the scripted token's logit above all others, as the last processor before top-k and top-p."""

    def __init__(
        self, script: Script, sample_ids: Sequence[str], prompt: int, steps: int, device: torch.device
    ) -> None:
        table = torch.from_numpy(script.table(sample_ids, steps + 1)).to(device)
        self._script, self._prompt = script, prompt
        self._tokens = table.flatten(0, 1)  # [images * candidates, steps]
        self._rows = torch.arange(len(self._tokens), device=device)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        # This runs after the penalty, so the penalty cannot undo it.
        step = input_ids.shape[1] - self._prompt
        return self._script.expect(scores, self._rows, self._tokens[:, step], CERTAIN)  # type: ignore[return-value]


def bytes_an_image(models: Models) -> int:
    """Bytes that generate's cache needs per image: every candidate has its own copy of the image's keys and values."""
    text, vision = models.blip.model.config.text_config, models.blip.model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    numbers = 2 * text.num_hidden_layers * models.settings.candidates * patches * text.hidden_size
    return int(numbers * torch.empty((), dtype=models.blip.dtype).element_size())


def prompt_tokens(models: Models) -> list[int]:
    """The prompt's tokens as in BLIP's training: the start token instead of [CLS], and no [SEP]."""
    inner = models.blip.tokenizer(models.settings.prompt, add_special_tokens=False)["input_ids"]
    return [models.blip.start_token, *inner]
