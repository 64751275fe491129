"""List the transforms in one table, group by group, in the order of the article."""

from barrage_plugins import Registry
from bart.transforms.clahe import CLAHE
from bart.transforms.color_space import HSV, LAB, XYZ, YUV
from bart.transforms.contrast import CONTRAST_STRETCH, HIST_EQ
from bart.transforms.denoising.gaussian import GAUSSIAN_BLUR
from bart.transforms.denoising.nl_means import NL_MEANS
from bart.transforms.denoising.rank import MEAN, MEAN_BILATERAL, MEDIAN
from bart.transforms.denoising.tv import TV_CHAMBOLLE
from bart.transforms.denoising.wavelet import WAVELET
from bart.transforms.fft import FFT
from bart.transforms.grey import GREY_MIX, GREY_ONE_CHANNEL, GREY_PARTIAL_MIX, GREY_TWO_THIRDS
from bart.transforms.jpeg import JPEG
from bart.transforms.noise import NOISE
from bart.transforms.precision import COLOR_PRECISION
from bart.transforms.seam_carving import SEAM_CARVING
from bart.transforms.swirl import SWIRL
from bart.transforms.zoom import ZOOM
from bart.types import Transform

_ARTICLE: dict[str, Transform] = {
    transform.name: transform
    for transform in (
        COLOR_PRECISION,
        JPEG,
        SWIRL,
        NOISE,
        FFT,
        ZOOM,
        SEAM_CARVING,
        HSV,
        XYZ,
        LAB,
        YUV,
        HIST_EQ,
        CLAHE,
        CONTRAST_STRETCH,
        GREY_MIX,
        GREY_PARTIAL_MIX,
        GREY_TWO_THIRDS,
        GREY_ONE_CHANNEL,
        GAUSSIAN_BLUR,
        MEDIAN,
        MEAN,
        MEAN_BILATERAL,
        TV_CHAMBOLLE,
        WAVELET,
        NL_MEANS,
    )
}
BART_25: tuple[str, ...] = tuple(_ARTICLE)
"""The names of the article's 25 transforms, in its order: the default of a barrage, whatever else is in the table."""

TRANSFORMS: Registry[Transform] = Registry(
    "transform",
    "transforms",
    builtin=_ARTICLE,
    expected="a bart.Transform that bears this name",
    accepts=lambda name, thing: isinstance(thing, Transform) and thing.name == name,
)
"""The transforms by name: the article's 25, and those of other packages (`barrage.transforms`)."""
