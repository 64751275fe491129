"""Independent truth for every deterministic transform.

An oracle is `(image, params) -> image`: NumPy, (h, w, 3) float64 in [0, 1], one image with its own parameters (the dict of
`Transform.draw`, without the leading dimension), computed by the library that the article used or by the plain definition.
"""

from tests.oracles import (
    color_space,
    contrast,
    fft,
    gaussian,
    grey,
    jpeg,
    nl_means,
    precision,
    rank,
    seam_carving,
    swirl,
    tv,
    wavelet,
    zoom,
)

ORACLES = {
    function.__name__: function
    for function in (
        precision.color_precision,
        jpeg.jpeg,
        swirl.swirl,
        fft.fft,
        zoom.zoom,
        seam_carving.seam_carving,
        color_space.hsv,
        color_space.xyz,
        color_space.lab,
        color_space.yuv,
        contrast.hist_eq,
        contrast.clahe,
        contrast.contrast_stretch,
        grey.grey_mix,
        grey.grey_partial_mix,
        grey.grey_two_thirds,
        grey.grey_one_channel,
        gaussian.gaussian_blur,
        rank.median,
        rank.mean,
        rank.mean_bilateral,
        tv.tv_chambolle,
        wavelet.wavelet,
        nl_means.nl_means,
    )
}
"""Oracles by the transform's name; noise has none, it is compared by its distribution."""
