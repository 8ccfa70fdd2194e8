"""The original worker's procedure, written from its description (FACTS: "Sampling", "How the original fails").

It takes one image at a time and repeats the image's states for each of the 40 candidates. It has no cache: every token runs the
whole prefix again, with cross-attention. CLIP gets the texts one by one at full length. As in the original, complete candidates
leave the batch, and duplicates are dropped before ranking.
"""

from collections.abc import Sequence

import torch
from PIL import Image

from laion_coco_assets.bench.measured_models import Models
from laion_coco_assets.bench.pipelines import best_first
from laion_coco_assets.bench.plain import prompt_tokens
from laion_coco_assets.bench.script import Script
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.loading import Clip


class Worker:
    """Implements `Pipeline`. It ignores the batch size."""

    def __init__(self, models: Models, script: Script | None, clock: Clock = NO_CLOCK, batch_size: int = 0) -> None:
        self._models, self._script, self._clock = models, script, clock
        del batch_size
        limits = [limit.tokens for limit in models.settings.max_lengths for _ in range(limit.candidates)]
        self._limits = torch.tensor(limits, device=models.blip.device)

    @torch.inference_mode()
    def run(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[str]:
        """See `Pipeline`."""
        return [self._run(image, sample_id) for image, sample_id in zip(images, sample_ids, strict=True)]

    def _run(self, image: Image.Image, sample_id: str) -> str:
        blip, clock = self._models.blip, self._clock
        with clock.stage("blip_preprocessing"):
            pixels = blip.preprocessing([image]).to(device=blip.device, dtype=blip.dtype)
        with clock.stage("blip_image"):
            states = blip.model.vision_model(pixels).last_hidden_state
        with clock.stage("blip_decoding"):
            captions = self._caption(states, sample_id)
        scores = self._score("clip_l", self._models.clip_l, image, captions)
        kept = [captions[place] for place in best_first(scores, self._models.keep)]
        finals = self._score("rn50x64", self._models.rn50x64, image, kept)
        return kept[best_first(finals, 1)[0]] if kept else ""

    def _caption(self, states: torch.Tensor, sample_id: str) -> list[str]:
        blip, settings = self._models.blip, self._models.settings
        prompt = prompt_tokens(self._models)
        limits = self._limits
        candidates = torch.arange(len(limits), device=blip.device)
        states = states.repeat_interleave(len(limits), dim=0)
        seen = torch.tensor([prompt], device=blip.device).repeat(len(limits), 1)
        complete: list[torch.Tensor] = []
        steps = int(limits.max()) + 1
        written = None
        if self._script is not None:
            written = torch.from_numpy(self._script.table([sample_id], steps)[0]).to(blip.device)
        for step in range(steps):
            logits = blip.model.text_decoder(
                input_ids=seen, encoder_hidden_states=states, use_cache=False
            ).logits[:, -1].float()  # fmt: skip
            if written is not None and self._script is not None:
                rows = torch.arange(len(candidates), device=blip.device)
                logits = self._script.expect(logits, rows, written[candidates, step])
            ending = logits.softmax(dim=-1)[:, blip.end_token]
            tokens = self._draw(logits, seen, step)
            ended = (tokens == blip.end_token) | (ending > settings.forced_end)
            if written is not None:
                tokens = written[candidates, step]
                ended = tokens == blip.end_token
            ended |= limits <= step
            complete += list(seen[ended])
            going = ~ended
            limits, candidates, states = limits[going], candidates[going], states[going]
            seen = torch.cat([seen[going], tokens[going, None]], dim=1)
            if not len(seen):
                break
        texts = blip.tokenizer.batch_decode([tokens.tolist() for tokens in complete], skip_special_tokens=True)
        stripped = (text.removeprefix(settings.prompt.strip()).strip() for text in texts)
        return [text for text in dict.fromkeys(stripped) if text]

    def _draw(self, logits: torch.Tensor, seen: torch.Tensor, step: int) -> torch.Tensor:
        """Draw one token for each row of logits [rows, vocab], with the worker's order of filters."""
        settings = self._models.settings
        if step < settings.min_length:
            logits[:, self._models.blip.end_token] = float("-inf")
        before = logits.gather(1, seen)
        penalty = settings.repetition_penalty
        logits.scatter_(1, seen, torch.where(before < 0, before * penalty, before / penalty))
        logits = logits / settings.temperature
        least = logits.topk(min(settings.top_k, logits.shape[1]), dim=1).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
        ordered, places = logits.sort(dim=1, descending=True)
        shares = ordered.softmax(dim=1)
        beyond = shares.cumsum(dim=1) - shares > settings.top_p
        beyond[:, 0] = False
        logits = logits.masked_fill(beyond.scatter(1, places, beyond), float("-inf"))
        return torch.multinomial(logits.softmax(dim=1), 1).squeeze(1)

    def _score(self, name: str, clip: Clip, image: Image.Image, captions: Sequence[str]) -> list[float]:
        with self._clock.stage(f"{name}_preprocessing"):
            pixels = clip.preprocess(image).unsqueeze(0).to(clip.device, clip.dtype)
        with self._clock.stage(f"{name}_image"):
            image_row = clip.model.encode_image(pixels, normalize=True).float()
        scores = []
        with self._clock.stage(f"{name}_text"):
            for caption in captions:
                text_row = clip.model.encode_text(clip.tokenizer([caption]).to(clip.device), normalize=True).float()
                scores.append((text_row @ image_row.T).item())
        return scores
