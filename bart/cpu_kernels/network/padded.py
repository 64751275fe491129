"""Hold images with zeros around them without writing them down, until an operation needs them."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map_only

Border = tuple[int, int, int, int]
"""Zeros around images: on the left, on the right, above, below."""


class Padded(Tensor):
    """Replace `functional.pad(images, border)`, of images (n, c, h, w). It is that tensor for every operation of torch.

    A convolution that pads by itself takes `images` and `border` instead, as long as there is no other operation: the first one
    writes the tensor down for all that follow, as it may be written into, or seen through a view.
    """

    images: Tensor
    border: Border
    written: Tensor | None
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def of(cls, images: Tensor, border: Border) -> "Padded":
        """Return the padded images (n, c, h + above + below, w + left + right), with their derivative."""
        padded: Padded = _Pad.apply(images, border)
        padded.images, padded.border, padded.written = images, border, None
        return padded

    def whole(self) -> Tensor:
        """Return the tensor that is stood for, without a derivative: the same one at every call."""
        if self.written is None:
            self.written = bordered(self.images.detach(), self.border)
        return self.written

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation on the tensors that are stood for. Derivatives were taken care of before."""
        whole = [tree_map_only(cls, cls.whole, given) for given in (args, kwargs or {})]
        return func(*whole[0], **whole[1])


class _Pad(torch.autograd.Function):
    """Add a border, on paper."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, border: Border) -> Tensor:
        left, right, above, below = ctx.border = border
        n, channels, height, width = images.shape
        shape = (n, channels, above + height + below, left + width + right)
        made: Any = Tensor._make_wrapper_subclass
        strides = torch.empty(shape, device="meta").to(memory_format=_layout(images)).stride()
        padded: Tensor = made(Padded, shape, strides, dtype=images.dtype, device=images.device)
        return padded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the images alone."""
        return functional.pad(gradient, [-length for length in ctx.border]), None


def bordered(x: Tensor, border: Border) -> Tensor:
    """Return images (n, c, h, w) with zeros around them, as torch would, without a derivative. Only the border is filled."""
    if not any(border):
        return x
    left, right, above, below = border
    n, channels, height, width = x.shape
    shape = (n, channels, above + height + below, left + width + right)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_layout(x))
    out[:, :, :above], out[:, :, above + height :] = 0, 0
    out[..., :left], out[..., left + width :] = 0, 0
    out[:, :, above : above + height, left : left + width] = x
    return out


def _layout(x: Tensor) -> torch.memory_format:
    """Return the layout in which torch pads images."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
