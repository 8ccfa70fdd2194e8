"""Our attention is nn.MultiheadAttention's, for every mask that open_clip makes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from laion_coco_assets.captioning.attention import SelfAttention, attend, use_own_attention
from laion_coco_assets.captioning.loading import Clip

ROWS, LENGTH, WIDTH, HEADS = 3, 11, 32, 4


def no_mask() -> None:
    return None


def causal() -> torch.Tensor:
    return torch.full((LENGTH, LENGTH), float("-inf")).triu(1)


def by_row_and_head() -> torch.Tensor:
    """Open_clip's shape of a padding mask: another one for each row and head."""
    mask = torch.zeros(ROWS * HEADS, LENGTH, LENGTH)
    for place in range(len(mask)):
        mask[place, :, LENGTH - 1 - place % 5 :] = float("-inf")
    return mask


@pytest.mark.parametrize("make_mask", [no_mask, causal, by_row_and_head])
def test_equals_multihead_attention(make_mask: Callable[[], torch.Tensor | None]) -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    nn.init.normal_(theirs.in_proj_bias)
    hidden, mask = torch.randn(ROWS, LENGTH, WIDTH), make_mask()
    with torch.inference_mode():
        expected, _ = theirs(hidden, hidden, hidden, need_weights=False, attn_mask=mask)
        found, _ = SelfAttention(theirs)(hidden, hidden, hidden, attn_mask=mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("length", "others"), [(577, 577), (1, 5), (12, 577)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_attention_in_every_dtype_is_that_of_float64(length: int, others: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 5, length, 64), (3, 5, others, 64), (3, 5, others, 64))  # 15 heads: no multiple of what goes at once
    queries, keys, values = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    expected = nn.functional.scaled_dot_product_attention(queries, keys, values)
    found = attend(queries.to(dtype), keys.to(dtype), values.to(dtype))
    assert found.dtype == dtype
    tolerance = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=0)


def test_every_plain_block_of_both_towers_is_exchanged_once(vit: Clip) -> None:
    use_own_attention(vit.model)
    use_own_attention(vit.model)
    kinds = [type(each) for each in vit.model.modules() if isinstance(each, (nn.MultiheadAttention, SelfAttention))]
    assert kinds == [SelfAttention] * 4, "two layers a tower"


def test_what_is_not_plain_self_attention_stays() -> None:
    from open_clip.transformer import ResidualAttentionBlock

    crossing = ResidualAttentionBlock(WIDTH, HEADS, is_cross_attention=True)
    use_own_attention(crossing)
    assert isinstance(crossing.attn, nn.MultiheadAttention)
