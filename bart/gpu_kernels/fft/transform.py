"""Choose how spectra are filtered."""

from torch import Tensor

from bart.gpu_kernels.common.part import Part, linear
from bart.gpu_kernels.fft import by_torch, on_chip


def _filter(part: Part, x: Tensor, back: bool) -> None:
    """Queue what filters the images of a part, or a gradient."""
    (on_chip if on_chip.fits(*part.size) else by_torch).filtered(part, x, back)


fft = linear(_filter)
"""`bart.transforms.fft.apply`."""
