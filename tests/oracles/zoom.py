"""Oracle of the zoom: crop, and scikit-image's resize with its defaults."""

from skimage import transform


def zoom(image, params):
    height, width = image.shape[:2]
    left, right, top, bottom = params["margin"]
    return transform.resize(image[top : height - bottom, left : width - right], (height, width), order=1)
