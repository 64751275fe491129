"""Oracle of wavelet denoising: scikit-image."""

from skimage.restoration import cycle_spin, denoise_wavelet


def wavelet(image, params):
    settings = {
        "wavelet": ("db1", "db2", "haar", "sym9")[int(params["wavelet"])],
        "mode": "soft" if params["soft"] else "hard",
        "convert2ycbcr": bool(params["ycbcr"]),
        "method": "BayesShrink",
        "channel_axis": -1,
    }
    return cycle_spin(image, denoise_wavelet, int(params["shift"]), func_kw=settings, workers=1, channel_axis=-1)
