"""CLIP's self-attention with one product for queries, keys and values, and PyTorch's fused attention."""

from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention


class SelfAttention(nn.Module):
    """Takes over an `nn.MultiheadAttention` that attends to its own input, batch first, without dropout.

    The same numbers but for rounding. `nn.MultiheadAttention`'s own inference path splits the product in three copies
    and holds the attention weights of all heads, which in bfloat16 on a CPU is several times slower.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj
        self.heads = attention.num_heads

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,  # noqa: ARG002  # as open_clip's block calls its attention
        value: torch.Tensor,  # noqa: ARG002
        need_weights: bool = False,  # noqa: ARG002
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """Attend from each position to all that the mask allows.

        Args:
            query: [rows, length, width].
            key: the same tensor.
            value: the same tensor.
            need_weights: must be false.
            attn_mask: added to the scores: [length, length], or [rows * heads, length, length].

        Returns:
            [rows, length, width], and None in place of the weights.
        """
        rows, length, width = query.shape
        split = linear(query, self.in_proj_weight, self.in_proj_bias).view(rows, length, 3, self.heads, -1)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # [rows, heads, length, width / heads] each
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.view(rows, self.heads, length, length)
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask)
        return self.out_proj(attended.transpose(1, 2).reshape(rows, length, width)), None


def use_own_attention(model: Any) -> None:
    """Put `SelfAttention` into an open_clip model's plain transformer blocks, both towers', in place.

    Other blocks (cross-attention, pooling, timm's and Hugging Face's towers) stay as they are.
    """
    for block in model.modules():
        if not isinstance(block, ResidualAttentionBlock) or hasattr(block, "ln_1_kv"):
            continue
        attention = block.attn
        if isinstance(attention, nn.MultiheadAttention) and attention.batch_first and not attention.dropout:
            block.attn = SelfAttention(attention)
