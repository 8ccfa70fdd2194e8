"""The plain pipeline: transformers' `generate` and open_clip, batched, as a competent user writes it."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import LogitsProcessor, LogitsProcessorList

from laion_coco_assets.bench.models import Models
from laion_coco_assets.bench.pipelines import best_first
from laion_coco_assets.bench.script import Script
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.loading import Clip

_TEXTS_AT_ONCE = 128


class Plain:
    """Implements `Pipeline`. The cache of keys and values is generate's own; an image's duplicates are dropped."""

    def __init__(self, models: Models, script: Script | None, clock: Clock = NO_CLOCK, batch_size: int = 0) -> None:
        self._models, self._script, self._clock = models, script, clock
        # 40 rows an image with their own copy of its keys and values each: 1.7 GB an image in float32.
        self._batch_size = batch_size or (8 if models.blip.device.type == "cuda" else 1)
        self._limit = max(each.tokens for each in models.settings.max_lengths)
        models.blip.model.vision_model.register_forward_pre_hook(self._vision_begins)
        models.blip.model.vision_model.register_forward_hook(self._vision_ends)
        self._vision: Any = None

    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        """See `Pipeline`."""
        winners: list[str] = []
        for begin in range(0, len(images), self._batch_size):
            batch = slice(begin, begin + self._batch_size)
            winners += self._run_batch(images[batch], sample_ids[batch])
        return winners

    @torch.inference_mode()
    def _run_batch(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        captions = self._caption(images, sample_ids)
        scores = self._score("clip_l", self._models.clip_l, images, captions)
        kept = [
            [own[place] for place in best_first(each, self._models.keep)]
            for own, each in zip(captions, scores, strict=True)
        ]
        finals = self._score("rn50x64", self._models.rn50x64, images, kept)
        return [own[best_first(each, 1)[0]] if own else "" for own, each in zip(kept, finals, strict=True)]

    def _caption(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[list[str]]:
        blip, settings = self._models.blip, self._models.settings
        with self._clock.stage("blip_preprocessing"):
            pixels = blip.preprocessing(images).to(device=blip.device, dtype=blip.dtype)
        prompt = prompt_tokens(self._models)
        whole = torch.tensor([[*prompt, blip.end_token]], device=blip.device).repeat(len(images), 1)
        processors = LogitsProcessorList()
        if self._script is not None:
            processors.append(_Scripted(self._script, sample_ids, len(prompt), self._limit, blip.device))
        with self._clock.stage("blip_decoding"):
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
        own = [stripped[begin : begin + settings.candidates] for begin in range(0, len(texts), settings.candidates)]
        return [[text for text in dict.fromkeys(each) if text] for each in own]

    def _score(
        self, name: str, clip: Clip, images: Sequence[Image.Image], captions: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        with self._clock.stage(f"{name}_preprocessing"):
            pixels = torch.stack([clip.preprocess(each) for each in images]).to(clip.device, clip.dtype)
        with self._clock.stage(f"{name}_image"):
            image_rows = clip.model.encode_image(pixels, normalize=True).float()
        with self._clock.stage(f"{name}_text"):
            texts = [text for own in captions for text in own]
            tokens = clip.tokenizer(texts).to(clip.device)
            encoded = [
                clip.model.encode_text(each, normalize=True).float() for each in torch.split(tokens, _TEXTS_AT_ONCE)
            ]
            split = torch.split(torch.cat(encoded), [len(own) for own in captions])
            return [(rows @ image).tolist() for rows, image in zip(split, image_rows, strict=True)]

    def _vision_begins(self, *_: Any) -> None:
        self._vision = self._clock.stage("blip_image")
        self._vision.__enter__()

    def _vision_ends(self, *_: Any) -> None:
        self._vision.__exit__(None, None, None)


class _Scripted(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed here
    """Raises the scripted token's logit above all others, as the last of the processors before top-k and top-p."""

    def __init__(
        self, script: Script, sample_ids: Sequence[str], prompt: int, steps: int, device: torch.device
    ) -> None:
        table = torch.from_numpy(script.table(sample_ids, steps + 1)).to(device)
        self._rows, self._prompt = table.flatten(0, 1), prompt  # [images * candidates, steps]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        tokens = self._rows[:, input_ids.shape[1] - self._prompt, None]
        # Certain beyond what random numbers can do; after the penalty, which therefore can not undo it.
        return scores.scatter_add(1, tokens, torch.full_like(tokens, 10_000, dtype=scores.dtype))  # type: ignore[return-value]


def prompt_tokens(models: Models) -> list[int]:
    """As BLIP was trained: the start token for [CLS], and no [SEP]."""
    inner = models.blip.tokenizer(models.settings.prompt, add_special_tokens=False)["input_ids"]
    return [models.blip.start_token, *inner]
