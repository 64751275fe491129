"""Run the convolutions and linear layers of a frozen network on a CPU, with torch's values, without work that it repeats.

- Weights in half precision are kept: autocast casts them anew in every pass.
- Zeros around images are not written down where a depthwise convolution can pad by itself: its bits are the same.
- Depthwise convolutions with a stride have a gradient of their own.

All this is for gradients in the images alone. Elsewhere the layers are torch's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bart.cpu_kernels.network.depthwise import HALF, Depthwise
from bart.cpu_kernels.network.padded import Border, Padded

Pair = tuple[int, int]


def with_fast_layers(network: nn.Module) -> nn.Module:
    """Return a network whose convolutions and linear layers, of any class of theirs, run fast on a CPU if weights are frozen.

    The network is changed; no value of it is, nor a name.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "forward" not in vars(module):
            vars(module)["forward"] = FastForward(module)  # found before the method of the class
    return network


class FastForward:
    """Replace the method `forward` of a layer: watch what that does.

    It belongs to the layer, so what is run again in a backward pass is the same.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.kept: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the layer returns. To what transforms or traces functions, it is the layer."""
        if torch._C._are_functorch_transforms_active() or torch.jit.is_tracing():
            return type(self.layer).forward(self.layer, *args, **kwargs)
        with FastOperations(self):
            return type(self.layer).forward(self.layer, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is kept."""
        return {"layer": self.layer, "kept": {}}

    def cast(self, weight: Tensor) -> Tensor:
        """Return a weight of this layer in the precision of autocast, cast once until it changes; any other tensor as it is."""
        if not torch.is_autocast_enabled("cpu") or weight.dtype != torch.float32 or weight.requires_grad:
            return weight
        for name, own in self.layer._parameters.items():
            if own is not None and own is weight:
                half, seen = torch.get_autocast_dtype("cpu"), _sums(weight)
                kept = self.kept.get(name)
                if kept is None or kept[1].dtype != half or not torch.equal(kept[0], seen):
                    kept = self.kept[name] = seen, weight.detach().to(half)
                return kept[1]
        return weight


class FastOperations(TorchFunctionMode):
    """Run the operations of one layer fast while it is entered; no value changes."""

    def __init__(self, forward: FastForward) -> None:
        super().__init__()
        self.cast = forward.cast

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation of torch, or what stands for it."""
        kwargs = kwargs or {}
        if not (args and isinstance(args[0], Tensor) and args[0].device.type == "cpu"):
            return func(*args, **kwargs)
        if not (torch.is_grad_enabled() and args[0].requires_grad):
            return func(*args, **kwargs)
        if func is functional.pad and (border := _border(*args, **kwargs)) is not None:
            return Padded.of(args[0], border)
        if func is torch.conv2d:
            return self._convolved(*args, **kwargs)
        if func is functional.linear:
            return self._linear(*args, **kwargs)
        return func(*args, **kwargs)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return torch's own output."""
        return functional.linear(input, self.cast(weight), bias if bias is None else self.cast(bias))

    def _convolved(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
    ) -> Tensor:
        """Return torch's own output, with a gradient of ours where that is faster."""
        weight, bias = self.cast(weight), bias if bias is None else self.cast(bias)
        x, border = input, (0, 0, 0, 0)
        if isinstance(input, Padded) and input.written is None:
            x, border = input.images, input.border
        if _is_depthwise(x, weight, groups) and _pair(dilation) == (1, 1) and not isinstance(padding, str):
            strides, own = _pair(stride), _pair(padding)
            if max(strides) > 1 and _precision(x) == HALF and not weight.requires_grad:
                bias = bias if bias is None else bias.to(HALF)
                return Depthwise.apply(x.to(HALF), border, weight.to(HALF), bias, strides, own)
            if strides == (1, 1) and border[0] == border[1] and border[2] == border[3]:
                own = own[0] + border[2], own[1] + border[0]
                return torch.conv2d(x, weight, bias, 1, own, 1, groups)
        x = functional.pad(x, border) if any(border) else x
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _sums(weight: Tensor) -> Tensor:
    """Return by what a weight (a, ...) is known again, (a,): sums in which each place has a factor of its own.

    Versions of torch do not count what is written through `weight.data` or NumPy. This takes a fraction of a cast, and what is
    too small to be seen in a sum is too small for half precision.
    """
    last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    lines = (weight.permute(0, 2, 3, 1) if last else weight).detach().reshape(len(weight), -1)
    with torch.autocast("cpu", enabled=False):
        return lines.mv(torch.linspace(1, 2, lines.shape[1]))


def _border(input: Tensor, pad: list[int], mode: str = "constant", value: float | None = None) -> Border | None:
    """Return the zeros that torch's pad puts around images (n, c, h, w); None if it does something else."""
    zeros = mode == "constant" and not value and len(pad) == 4 and min(pad) >= 0
    return tuple(int(length) for length in pad) if zeros and input.dim() == 4 else None  # type: ignore[return-value]


def _is_depthwise(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Return whether each channel of images (n, c, h, w) has one filter of its own."""
    return x.dim() == 4 and groups > 1 and weight.shape[:2] == (groups, 1) and x.shape[1] == groups


def _precision(x: Tensor) -> torch.dtype:
    """Return the precision in which a convolution of `x` runs."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _pair(value: int | Pair) -> Pair:
    """Return a length for both directions, down and right."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))
