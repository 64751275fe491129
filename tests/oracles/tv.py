"""Oracle of total variation denoising: scikit-image."""

from skimage.restoration import denoise_tv_chambolle


def tv_chambolle(image, params):
    axis = -1 if params["per_channel"] else None
    return denoise_tv_chambolle(image, weight=float(params["weight"]), eps=2e-4, max_num_iter=200, channel_axis=axis)
