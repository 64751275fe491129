"""Compute on a CPU what PyTorch does slowly, by compiled loops, one image per thread. `network` has the layers of networks.

Other rooms use the names in `__all__`, and the modules. `bilateral` and `nl_means` import Numba when they are imported; `clip`
and `seams` do so at their first call. So `import bart` does not load Numba.
"""

from bart.cpu_kernels.base import Image, each, map_images

__all__ = ["Image", "each", "map_images"]
