"""Define the transforms of group 10, denoising: one module a filter or family of filters; `disks` has what rank filters share.

Other rooms use the names in `__all__`.
"""

from bart.transforms.denoising.gaussian import GAUSSIAN_BLUR
from bart.transforms.denoising.nl_means import NL_MEANS
from bart.transforms.denoising.rank import MEAN, MEAN_BILATERAL, MEDIAN
from bart.transforms.denoising.tv import TV_CHAMBOLLE
from bart.transforms.denoising.wavelet import WAVELET

__all__ = ["GAUSSIAN_BLUR", "MEAN", "MEAN_BILATERAL", "MEDIAN", "NL_MEANS", "TV_CHAMBOLLE", "WAVELET"]
