"""Compute on a CPU what PyTorch does slowly, by compiled loops, one image per thread. `network` has the layers of networks.

Other rooms use the names in `__all__`, and the modules. `import bart` does not load Numba: `clip`, `depthwise` and `seams`
do so at their first call, the other modules of kernels when they are imported, which is inside functions.
"""

from bart.cpu_kernels.base import Image, each, map_images

__all__ = ["Image", "each", "map_images"]
