"""Oracle of wavelet denoising: scikit-image."""

import warnings

from skimage.restoration import cycle_spin, denoise_wavelet


def wavelet(image, params):
    settings = {
        "wavelet": ("db1", "db2", "haar", "sym9")[int(params["wavelet"])],
        "mode": "soft" if params["soft"] else "hard",
        "convert2ycbcr": bool(params["ycbcr"]),
        "method": "BayesShrink",
        "channel_axis": -1,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one says that dask is missing, with which it would use threads
        return cycle_spin(image, denoise_wavelet, int(params["shift"]), func_kw=settings, channel_axis=-1)
