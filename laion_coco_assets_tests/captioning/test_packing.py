"""Packed layers are the layers they take over, in every shape and layout that they are given."""

import copy

import pytest
import torch
from torch import nn

from laion_coco_assets.captioning.packing import PackedConv2d, PackedLinear, can_pack, pack, pack_with_relu

pytestmark = pytest.mark.skipif(
    not can_pack(torch.zeros(1, dtype=torch.bfloat16)), reason="packs on x86 with bfloat16 in oneDNN only"
)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(96,), (1, 96), (0, 96), (3, 5, 96)])
def test_linear(shape: tuple[int, ...], dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    theirs, rows = nn.Linear(96, 130, bias=bias).to(dtype), torch.randn(shape).to(dtype)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(theirs)(rows), theirs(rows), atol=TOLERANCE[dtype], rtol=0)


def test_linear_of_rows_that_do_not_lie_in_order() -> None:
    theirs, rows = nn.Linear(96, 130), torch.randn(7, 96, 4).transpose(1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(theirs)(rows), theirs(rows), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("side", "stride", "padding"), [(16, 16, 0), (3, 1, 1), (3, 2, 1), (1, 1, 0)])
def test_convolution(side: int, stride: int, padding: int, dtype: torch.dtype, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    theirs = nn.Conv2d(24, 40, side, stride=stride, padding=padding).to(dtype)
    maps = torch.randn(2, 24, 48, 48).to(dtype).contiguous(memory_format=layout)
    with torch.inference_mode():
        expected = theirs(maps)
        torch.testing.assert_close(PackedConv2d(theirs)(maps), expected, atol=TOLERANCE[dtype], rtol=0)
        torch.testing.assert_close(
            PackedConv2d(theirs, relu=True)(maps), expected.relu(), atol=TOLERANCE[dtype], rtol=0
        )


def test_a_module_is_packed_once_with_the_relu_behind_its_convolution() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 4))
    images = torch.randn(2, 3, 3, 3)
    with torch.inference_mode():
        expected = module(images)
        for _ in range(2):
            pack_with_relu(module, "0", "1")
            pack(module)
        assert [type(each) for each in module] == [PackedConv2d, nn.Identity, nn.Flatten, PackedLinear]
        torch.testing.assert_close(module(images), expected, atol=1e-5, rtol=0)


def test_what_gains_nothing_stays() -> None:
    module = nn.Sequential(nn.Linear(4, 4, dtype=torch.float64), nn.Linear(4, 4, dtype=torch.float16))
    pack(module)
    assert [type(each) for each in module] == [nn.Linear, nn.Linear]


def test_a_copy_has_a_bias_of_its_own() -> None:
    module = nn.Sequential(nn.Linear(4, 4))
    pack(module)
    twin, rows = copy.deepcopy(module), torch.randn(2, 4)
    with torch.inference_mode():
        twin[0].bias += 1
        torch.testing.assert_close(twin(rows), module(rows) + 1, atol=1e-5, rtol=0)
