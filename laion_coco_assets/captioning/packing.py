"""Lays out the weights of linear layers and convolutions once, as oneDNN's kernels read them, on an x86 CPU.

PyTorch's own layers pass the weights on unchanged. In bfloat16, every call then lays them out again. In float32 they go to MKL,
which is slower than oneDNN on processors that are not Intel's. `torch.compile` freezes models with the same operators.
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
#: How many rows to lay out for. Some layouts depend on it, but only a little.
_ROWS: Final = 1024


class _Packed(nn.Module):
    """Weight and bias are neither parameters nor buffers: they can no longer be moved, converted or saved."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A packed weight cannot be copied, and need not be: nothing writes to it."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, bias=deepcopy(self.bias, memo))
        return twin


class PackedLinear(_Packed):
    """Replaces an `nn.Linear`; the results are the same except for rounding."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., in features] to [..., out features]."""
        return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]


class PackedConv2d(_Packed):
    """Replaces an `nn.Conv2d` that pads with zeros and, with `relu`, the ReLU after it."""

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise ValueError(f"padding {conv.padding_mode} {conv.padding}")
        self._shape = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self._then = "relu" if relu else "none"
        self.weight, self.bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[images, channels, height, width] to [images, output channels, output height, output width]."""
        if not self.weight.is_mkldnn:  # the best layout depends on the maps
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self._shape, list(maps.shape))
        return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
            maps, self.weight, self.bias, *self._shape, self._then, [], ""
        )


def can_pack(weight: torch.Tensor) -> bool:
    """Whether packing a weight of this device and dtype is possible and worth it."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in _DTYPES
        and platform.machine().lower() in {"x86_64", "amd64"}
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
        and (weight.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
    )


def pack(module: nn.Module) -> None:
    """Replace every `nn.Linear` and `nn.Conv2d` below a module in place, where that is faster. A second call does nothing.

    Only for modules that call their layers. A module that reads a layer's `weight` would get the new layout.
    """
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and can_pack(layer.weight):
                setattr(parent, name, PackedLinear(layer) if isinstance(layer, nn.Linear) else PackedConv2d(layer))


def pack_with_relu(module: nn.Module, conv_name: str, relu_name: str) -> None:
    """Replace a convolution and the ReLU that is called on its output by one layer, where that is faster."""
    conv, relu = getattr(module, conv_name), getattr(module, relu_name)
    if isinstance(conv, nn.Conv2d) and isinstance(relu, nn.ReLU) and can_pack(conv.weight):
        setattr(module, conv_name, PackedConv2d(conv, relu=True))
        setattr(module, relu_name, nn.Identity())
