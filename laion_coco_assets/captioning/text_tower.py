"""Runs CLIP's text tower at the texts' true length: sorted, cut after the end token where that is exact, in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.transformer import TextTransformer

from laion_coco_assets.captioning.batching import Batches


@dataclass(frozen=True)
class _CausalTower:
    """The parts of a text tower that reads its embedding at the end token and ignores what comes after it."""

    tower: Any
    pool: str
    end_token: int | None

    def ends(self, tokens: torch.Tensor) -> torch.Tensor:
        """Where each text's embedding is read, as open_clip pools: int64 [texts], for tokens [texts, context]."""
        if self.pool == "eos":
            return torch.eq(tokens, self.end_token or 0).int().argmax(dim=1)
        return tokens.argmax(dim=1)

    def encode(self, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Embeddings [texts, width] of tokens [texts, length]; length is at least the largest end + 1."""
        tower, length = self.tower, tokens.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        hidden = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
        hidden = tower.ln_final(tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length]))
        pooled = hidden[torch.arange(len(tokens), device=tokens.device), ends]
        if tower.text_projection is None:
            return pooled  # type: ignore[no-any-return]
        if isinstance(tower.text_projection, torch.nn.Linear):
            return tower.text_projection(pooled)  # type: ignore[no-any-return]
        return pooled @ tower.text_projection  # type: ignore[no-any-return]


def _causal_tower(model: Any) -> _CausalTower | None:
    if isinstance(model, open_clip.CLIP):
        tower, pool, end_token = model, model.text_pool_type, model.text_eos_id
    elif isinstance(model, open_clip.CustomTextCLIP) and isinstance(model.text, TextTransformer):
        tower, pool, end_token = model.text, model.text.pool_type, model.text.eos_id
        if tower.cls_emb is not None or tower.use_pad_mask or tower.output_tokens:
            return None
    else:
        return None
    if tower.attn_mask is None or pool not in {"argmax", "eos"}:
        return None
    return _CausalTower(tower, pool, end_token)


def encode_texts(model: Any, tokens: torch.Tensor, batches: Batches) -> list[torch.Tensor]:
    """The result of `model.encode_text` for each text, not normalised: float32 [width] on the host, one per text.

    For a causal tower that reads its embedding at the end token, each batch is cut after its longest text, which is exact.
    Any other tower gets the full context.

    Args:
        model: a model of open_clip.
        tokens: int64 [texts, context], on the model's device.
        batches: decides how many texts run together.
    """
    causal = _causal_tower(model)
    ends = causal.ends(tokens) if causal else torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
    order = ends.argsort(stable=True)
    lengths = (ends[order] + 1).tolist()

    def encode(batch: Sequence[int]) -> Sequence[torch.Tensor]:
        places = order[batch[0] : batch[-1] + 1]
        if causal is None:
            encoded = model.encode_text(tokens[places])
        else:
            encoded = causal.encode(tokens[places, : lengths[batch[-1]]], ends[places])
        return encoded.float().cpu().unbind()  # type: ignore[no-any-return]

    encoded = batches.run(range(len(tokens)), encode)
    return [encoded[place] for place in order.argsort().tolist()]


def bytes_a_text(model: Any, dtype: torch.dtype) -> int:
    """An upper estimate of the device memory that encoding one text of full length needs, in bytes."""
    tower = getattr(model, "text", model)
    width = int(getattr(getattr(tower, "ln_final", None), "normalized_shape", (1024,))[0])
    context = int(getattr(tower, "context_length", None) or 77)
    return context * width * 20 * torch.empty((), dtype=dtype).element_size()
