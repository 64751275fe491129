"""Oracle of group 3: scikit-image's swirl with its defaults."""

from skimage import transform


def swirl(image, params):
    return transform.swirl(image, center=params["center"], strength=params["strength"], radius=params["radius"], order=1)
