"""The fastest attention for a device, and CLIP's attention built on it."""

from typing import Any, Final

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from laion_coco_assets.captioning.packing import pack

#: Bytes of scores computed together on a CPU. They should stay in its cache between the three passes.
_SCORES_AT_ONCE: Final = 5 << 20


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Softmax of `queries @ keys` over the root of dim, times `values`: [rows, heads, length, dim].

    This is PyTorch's fused attention, except for bfloat16 on a CPU without a mask. There, fused attention is no faster
    than in float32. Plain products over a few heads at a time are faster, with the scores rounded to bfloat16 as in
    transformers' eager attention.

    Args:
        queries: [rows, heads, length, dim].
        keys: [rows, heads, others, dim].
        values: the same shape as `keys`.
        mask: added to the scores, broadcast to [rows, heads, length, others].
    """
    if mask is not None or queries.dtype != torch.bfloat16 or queries.device.type != "cpu":
        return scaled_dot_product_attention(queries, keys, values, mask)
    length, dim = queries.shape[-2:]
    others = keys.shape[-2]
    flat = (queries * dim**-0.5).reshape(-1, length, dim)
    turned, own = keys.reshape(-1, others, dim).transpose(1, 2), values.reshape(-1, others, dim)
    attended = torch.empty_like(flat)
    at_once = min(len(flat), max(1, _SCORES_AT_ONCE // (length * others * flat.element_size())))
    # Reused for every part: new memory for each part would cost more than the products.
    scores, weights = flat.new_empty(2, at_once, length, others)
    for begin in range(0, len(flat), at_once):
        part = slice(begin, min(begin + at_once, len(flat)))
        size = part.stop - begin
        torch.bmm(flat[part], turned[part], out=scores[:size])
        torch.softmax(scores[:size], dim=-1, out=weights[:size])
        torch.bmm(weights[:size], own[part], out=attended[part])
    return attended.view(queries.shape)


class SelfAttention(nn.Module):
    """Replaces an `nn.MultiheadAttention` that attends to its own input, batch first, without dropout.

    The results are the same except for rounding. The inference path of `nn.MultiheadAttention` splits the product into
    three copies and holds the attention weights of all heads. In bfloat16 on a CPU that is several times slower.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        width = attention.embed_dim
        self.in_proj = nn.Linear(width, 3 * width, device="meta")  # its weights are set below
        self.in_proj.weight, self.in_proj.bias = attention.in_proj_weight, attention.in_proj_bias
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
        """Attend from each position to all positions that the mask allows.

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
        split = self.in_proj(query).view(rows, length, 3, self.heads, -1)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # [rows, heads, length, width / heads] each
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.view(rows, self.heads, length, length)
        attended = attend(queries, keys, values, attn_mask)
        return self.out_proj(attended.transpose(1, 2).reshape(rows, length, width)), None


def use_own_attention(model: Any) -> None:
    """Replace the attention of an open_clip model's plain transformer blocks in place, in both towers, and pack them.

    Other blocks (cross-attention, pooling, the towers of timm and Hugging Face) do not change.
    """
    for block in model.modules():
        if not isinstance(block, ResidualAttentionBlock) or hasattr(block, "ln_1_kv"):
            continue
        attention = block.attn
        if isinstance(attention, nn.MultiheadAttention) and attention.batch_first and not attention.dropout:
            block.attn = SelfAttention(attention)
            pack(block)
