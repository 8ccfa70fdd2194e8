"""Weights of linear layers and convolutions laid out once as oneDNN's kernels read them, on an x86 CPU.

PyTorch's own layers hand them over as they are: in bfloat16 every call lays them out anew, and float32 goes to MKL, which is
slower than oneDNN on other makers' processors. The operators are those that `torch.compile` freezes models with.
"""

import platform
from copy import deepcopy
from typing import Any, Final, Self

import torch
from torch import nn

_DTYPES: Final = (torch.float32, torch.bfloat16)
_OPERATORS: Final = (
    "_reorder_linear_weight",
    "_linear_pointwise",
    "_reorder_convolution_weight",
    "_convolution_pointwise",
)
#: Rows to lay out for: some layouts differ by it, none of them much.
_ROWS: Final = 1024


class _Packed(nn.Module):
    """Weight and bias are neither parameters nor buffers: they can not be moved, converted or saved any more."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A packed weight can not be copied, and need not: nothing writes to it."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, bias=deepcopy(self.bias, memo))
        return twin


class PackedLinear(_Packed):
    """Takes over an `nn.Linear`; the same numbers but for rounding."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., in features] to [..., out features]."""
        return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]


class PackedConv2d(_Packed):
    """Takes over an `nn.Conv2d` that pads with zeros, with the ReLU behind it if it is told so."""

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise ValueError(f"padding {conv.padding_mode} {conv.padding}")
        self._shape = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self._then = "relu" if relu else "none"
        self.weight, self.bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[images, channels, height, width] to the same of the output."""
        if not self.weight.is_mkldnn:  # which layout is best depends on the maps
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self._shape, list(maps.shape))
        return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
            maps, self.weight, self.bias, *self._shape, self._then, [], ""
        )


def can_pack(weight: torch.Tensor) -> bool:
    """Whether a weight is where and of a kind that is worth it."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in _DTYPES
        and platform.machine().lower() in {"x86_64", "amd64"}
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
        and (weight.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
    )


def pack(module: nn.Module) -> None:
    """Exchange every `nn.Linear` and `nn.Conv2d` below a module, in place, where that pays; twice is once.

    Only for modules that call their layers: one that reads a layer's `weight` itself would find it laid out.
    """
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and can_pack(layer.weight):
                setattr(parent, name, PackedLinear(layer) if isinstance(layer, nn.Linear) else PackedConv2d(layer))


def pack_with_relu(module: nn.Module, conv_name: str, relu_name: str) -> None:
    """Exchange a convolution, and let it do the ReLU that is called on what it gives; where that pays."""
    conv, relu = getattr(module, conv_name), getattr(module, relu_name)
    if isinstance(conv, nn.Conv2d) and isinstance(relu, nn.ReLU) and can_pack(conv.weight):
        setattr(module, conv_name, PackedConv2d(conv, relu=True))
        setattr(module, relu_name, nn.Identity())
