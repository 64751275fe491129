"""Denoise images by total variation: Chambolle's iterations forward, lagged diffusivity backward, a launch each."""

from bart.gpu_kernels.common.part import Kernel, Part, Saved
from bart.gpu_kernels.denoising.tv.derivative import diffuse
from bart.gpu_kernels.denoising.tv.solver import solve


def _forward(part: Part) -> Saved:
    """Queue the solver; the backward pass needs the solutions."""
    return (solve(part),)


def _backward(part: Part, saved: Saved) -> None:
    """Apply the derivative at the solutions."""
    diffuse(part, *saved)


tv_chambolle = Kernel(_forward, _backward)
"""`bart.transforms.denoising.tv.apply`."""
