"""CLIP's text tower at the texts' true length: sorted, cut at the end token where that is exact, in batches."""

from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.transformer import TextTransformer


@dataclass(frozen=True)
class _CausalTower:
    """The parts of a text tower whose embedding is read off the end token and to which nothing after it matters."""

    tower: Any
    pool: str
    end_token: int | None

    def ends(self, tokens: torch.Tensor) -> torch.Tensor:
        """Where each text's embedding is read off, as open_clip pools: int64 [texts] of tokens [texts, context]."""
        if self.pool == "eos":
            return torch.eq(tokens, self.end_token or 0).int().argmax(dim=1)
        return tokens.argmax(dim=1)

    def encode(self, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """[texts, width] of tokens [texts, length], length at least the largest end + 1."""
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


def encode_texts(model: Any, tokens: torch.Tensor, batch_size: int) -> torch.Tensor:
    """What `model.encode_text` gives for each text, not normalised: [texts, width].

    A causal tower that reads its embedding off the end token sees each batch cut after its longest text, which is
    exact; any other sees the full context.

    Args:
        model: open_clip's.
        tokens: int64 [texts, context], on the model's device.
        batch_size: texts at once.
    """
    causal = _causal_tower(model)
    if causal is None:
        return torch.cat([model.encode_text(each) for each in torch.split(tokens, batch_size)])
    ends = causal.ends(tokens)
    order = ends.argsort(stable=True)
    encoded = []
    for places in torch.split(order, batch_size):
        length = int(ends[places[-1]]) + 1
        encoded.append(causal.encode(tokens[places, :length], ends[places]))
    result = torch.cat(encoded)
    return result[order.argsort()]
