"""One sampling step: the original worker's filters on the logits, in its order, and the draw from the rest.

The order: keep the raw p(end); mask the end while the caption is too short; repetition penalty; temperature (in the place
where transformers applies it; 1 in the original); top-k; top-p; softmax; inverse CDF. Sums are float64, in an order fixed by
the token ids, in every dtype. So rows that tie or nearly tie are cut and drawn from in the same way on every device.
"""

from dataclasses import dataclass
from typing import Final

import torch

from laion_coco_assets.contract.profile import CaptionSettings

#: The fast path looks at this many of the likeliest tokens. A top_p of 0.24 leaves one to five.
_FAST: Final = 64
#: This many rows of BLIP's vocabulary in float64 are one megabyte.
_CACHED_ROWS: Final = 4


@dataclass(frozen=True)
class StepDistribution:
    """What may be drawn from each row. Tokens are in ascending order. The rest of a row repeats its last sum.

    Shapes: end_probability float64 [rows], raw; tokens int64 [rows, width]; cumulative float64 [rows, width], running
    sums of the kept tokens' probabilities, not normalised.
    """

    end_probability: torch.Tensor
    tokens: torch.Tensor
    cumulative: torch.Tensor

    def draw(self, rows: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """One token for each pair of a row (int64 [draws]) and a uniform in [0, 1) (float64 [draws]): int64 [draws]."""
        sums = self.cumulative[rows]
        total = sums[:, -1]
        # The largest uniform may round up to the total; what is drawn must still have a probability above zero.
        target = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros_like(total)))
        place = torch.searchsorted(sums, target.unsqueeze(1), right=True).clamp_(max=sums.shape[1] - 1)
        return self.tokens[rows].gather(1, place).squeeze(1)


def filter_step(
    logits: torch.Tensor,
    seen: torch.Tensor,
    *,
    end_token: int,
    end_masked: bool | torch.Tensor,
    settings: CaptionSettings,
) -> StepDistribution:
    """Filter one step's logits.

    Args:
        logits: [rows, vocab], any floating dtype. Not changed.
        seen: int64 [rows, length], every token so far, including prompt and BOS. Repeated tokens are allowed.
        end_token: the token that ends a caption.
        end_masked: whether the caption is shorter than the min length; per row (bool [rows]), or for all rows.
        settings: only top_p, top_k, temperature and repetition_penalty are read.
    """
    scores = logits.to(torch.float32, copy=True)
    end_probability = _probability(scores, end_token)
    scores[:, end_token].masked_fill_(torch.as_tensor(end_masked, device=scores.device), float("-inf"))
    before = scores.gather(1, seen)
    penalty = settings.repetition_penalty
    scores.scatter_(1, seen, torch.where(before < 0, before * penalty, before / penalty))
    if settings.temperature != 1:
        scores /= settings.temperature
    tokens, weights = _kept(scores, settings.top_k, settings.top_p)
    tokens, order = tokens.sort(dim=1)
    return StepDistribution(end_probability, tokens, weights.gather(1, order).cumsum(dim=1))


def _probability(scores: torch.Tensor, token: int) -> torch.Tensor:
    """softmax(scores)[:, token] in float64."""
    return _weights(scores, of=scores[:, token : token + 1]).squeeze(1) / _sums(scores).squeeze(1)


def _weights(scores: torch.Tensor, of: torch.Tensor | None = None) -> torch.Tensor:
    """exp(scores - the row's largest score), float64; for the scores `of` when they are given."""
    return ((scores if of is None else of) - scores.amax(dim=1, keepdim=True)).double().exp()


def _sums(scores: torch.Tensor) -> torch.Tensor:
    """The row sums of `_weights`, float64 [rows, 1]. On a CPU, a few rows at a time, which stay in its cache."""
    if scores.device.type != "cpu":
        return _weights(scores).sum(dim=1, keepdim=True)
    return torch.cat([_weights(rows).sum(dim=1, keepdim=True) for rows in torch.split(scores, _CACHED_ROWS)])


def _kept(scores: torch.Tensor, top_k: int, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens that top-k and top-p keep, and their weights, both [rows, width]. Padding is token `vocab`, weight 0."""
    vocab = scores.shape[1]
    if vocab <= _FAST or top_k < _FAST or top_p >= 1:
        return _kept_in_full(scores, top_k, top_p)
    tokens, weights, certain = _kept_among_likeliest(scores, top_k, top_p)
    doubtful = (~certain).nonzero().squeeze(1)
    if doubtful.numel():
        full_tokens, full_weights = _kept_in_full(scores[doubtful], top_k, top_p)
        width = max(full_tokens.shape[1], tokens.shape[1])
        tokens, weights = _widen(tokens, width, vocab), _widen(weights, width, 0)
        tokens[doubtful] = _widen(full_tokens, width, vocab)
        weights[doubtful] = _widen(full_weights, width, 0)
    return tokens, weights


def _widen(table: torch.Tensor, width: int, padding: int) -> torch.Tensor:
    return torch.nn.functional.pad(table, (0, width - table.shape[1]), value=padding)


def _kept_in_full(scores: torch.Tensor, top_k: int, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort the whole vocabulary. Tokens that tie with the k-th stay. At the top-p threshold, the lower id comes first."""
    vocab = scores.shape[1]
    scores, tokens = scores.sort(dim=1, descending=True, stable=True)
    weights = _weights(scores)
    if top_k < vocab:
        weights = weights.masked_fill(scores < scores[:, top_k - 1 : top_k], 0)
    if top_p < 1:
        sums = weights.cumsum(dim=1)
        weights = weights.masked_fill(_beyond(weights, sums, top_p * sums[:, -1:]), 0)
    width = int((weights > 0).sum(dim=1).amax())
    tokens, weights = tokens[:, :width], weights[:, :width]
    return tokens.masked_fill(weights == 0, vocab), weights


def _beyond(weights: torch.Tensor, sums: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Which tokens, likeliest first, come after the one that crosses the threshold. The first one never does."""
    beyond = (sums - weights) > threshold
    beyond[:, 0] = False
    return beyond


def _kept_among_likeliest(
    scores: torch.Tensor, top_k: int, top_p: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Like `_kept_in_full`, but from the likeliest tokens alone. Also returns for which rows the result is certain.

    Top-k is not carried out. Only the sum over the tokens it keeps matters. That sum is at most the sum over all tokens,
    and at least that minus the largest share that the (vocab - k) least likely tokens can have. A row is certain when the
    nucleus is the same for both bounds, lies within the likeliest tokens, and no tie reaches beyond them.
    """
    vocab = scores.shape[1]
    top = scores.topk(_FAST, dim=1).indices.sort(dim=1).values  # ascending ids, so that the stable sort breaks ties
    values, order = scores.gather(1, top).sort(dim=1, descending=True, stable=True)
    tokens = top.gather(1, order)
    everything = _sums(scores)
    weights = _weights(values)
    sums = weights.cumsum(dim=1)
    rest = (everything - sums[:, -1:]).clamp_(min=0)
    at_least = everything - rest * (max(vocab - top_k, 0) / (vocab - _FAST))
    beyond = _beyond(weights, sums, top_p * everything)
    kept = (~beyond).sum(dim=1)
    same = kept == (~_beyond(weights, sums, top_p * at_least)).sum(dim=1)
    last = values.gather(1, (kept - 1).unsqueeze(1)).squeeze(1)
    certain = same & (kept < _FAST) & (last > values[:, -1])
    return tokens.masked_fill(beyond, vocab), weights.masked_fill(beyond, 0), certain
