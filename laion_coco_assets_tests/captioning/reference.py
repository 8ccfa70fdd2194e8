"""The sampling of FACTS.md, token by token in plain Python: slow, and obviously right."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms

from laion_coco_assets.captioning.decoder import BlipDecoder, Prefixes, grow
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.captioning.random_numbers import uniforms
from laion_coco_assets.contract.profile import CaptionSettings


def softmax(scores: Sequence[float]) -> list[float]:
    largest = max(scores)
    weights = [math.exp(each - largest) for each in scores]
    total = math.fsum(weights)
    return [each / total for each in weights]


def reference_step(
    logits: Sequence[float], seen: Sequence[int], end: int, masked: bool, settings: CaptionSettings
) -> tuple[float, dict[int, float]]:
    """The raw probability of the end, and the probabilities of what may be drawn, by token in ascending order."""
    end_probability = softmax(logits)[end]
    scores = [np.float32(each) for each in logits]
    if masked:
        scores[end] = np.float32(-math.inf)
    penalty = np.float32(settings.repetition_penalty)
    for token in set(seen):
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    if settings.temperature != 1:
        scores = [each / np.float32(settings.temperature) for each in scores]
    if settings.top_k < len(scores):
        least = sorted(scores, reverse=True)[settings.top_k - 1]
        scores = [each if each >= least else np.float32(-math.inf) for each in scores]
    probabilities = softmax([float(each) for each in scores])
    kept: dict[int, float] = {}
    before = 0.0
    for token in sorted(range(len(scores)), key=lambda each: (-scores[each], each)):
        if kept and before > settings.top_p < 1:  # the one that crosses the threshold was kept
            break
        if probabilities[token] > 0:
            kept[token] = probabilities[token]
        before += probabilities[token]
    total = math.fsum(kept.values())
    return end_probability, {token: kept[token] / total for token in sorted(kept)}


def reference_draw(probabilities: dict[int, float], uniform: float) -> int:
    reached = 0.0
    for token, probability in probabilities.items():
        reached += probability
        if uniform < reached:
            return token
    return max(probabilities)


def worker_pixels(blip: Blip, image: Image.Image) -> torch.Tensor:
    """The worker's own transform."""
    size, facts = blip.preprocessing.size, blip.preprocessing
    return transforms.Compose(
        [
            transforms.Resize((size, size), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(facts.mean, facts.std),
        ]
    )(image.convert("RGB")).unsqueeze(0)


def prompt_tokens(blip: Blip, prompt: str) -> list[int]:
    """As BLIP does: the whole, [CLS] replaced by the start token, [SEP] removed."""
    tokens = list(blip.tokenizer(prompt).input_ids)
    tokens[0] = blip.model.config.text_config.bos_token_id
    return tokens[:-1]


@torch.no_grad()
def reference_candidates(blip: Blip, settings: CaptionSettings, image: Image.Image, sample_id: str) -> list[list[int]]:
    """Each candidate's tokens after the prompt: one candidate at a time, no cache, transformers' own forward."""
    limits = [each.tokens for each in settings.max_lengths for _ in range(each.candidates)]
    numbers = uniforms(settings.seed, sample_id, len(limits), max(limits))
    end = blip.model.config.text_config.sep_token_id
    hidden = blip.model.vision_model(worker_pixels(blip, image)).last_hidden_state
    prompt = prompt_tokens(blip, settings.prompt)
    result = []
    for candidate, limit in enumerate(limits):
        tokens: list[int] = []
        while len(tokens) < limit:
            seen = [*prompt, *tokens]
            logits = blip.model.text_decoder(input_ids=torch.tensor([seen]), encoder_hidden_states=hidden).logits
            step = len(tokens)
            ending, kept = reference_step(logits[0, -1].tolist(), seen, end, step < settings.min_length, settings)
            token = reference_draw(kept, numbers[candidate, step])
            if token == end or ending > settings.forced_end:
                break
            tokens.append(token)
        result.append(tokens)
    return result


def step_decoder(
    decoder: BlipDecoder, prefixes: Prefixes, parents: NDArray[np.int64], tokens: NDArray[np.int64]
) -> tuple[torch.Tensor, Prefixes]:
    """Continue row `parents[i]` with `tokens[i]`. Returns the logits after each token, and the new rows."""
    grown = grow(prefixes, parents, tokens)
    return decoder.advance([grown]), grown
