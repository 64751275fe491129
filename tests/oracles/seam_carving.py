"""Oracle of seam carving: scikit-image's energy and resize, and the dynamic programme of one image, seam by seam.

Energies are rounded to multiples of 2^-15. Ties: the leftmost pixel of the last row, then the leftmost predecessor.
"""

import numpy as np
from skimage import color, filters, transform


def _seam(energy):
    totals = np.full((energy.shape[0], energy.shape[1] + 2), np.inf)
    totals[0, 1:-1] = energy[0]
    for r in range(1, len(energy)):
        above = totals[r - 1]
        totals[r, 1:-1] = energy[r] + np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    column = int(np.argmin(totals[-1, 1:-1]))
    seam = [column]
    for r in range(len(energy) - 2, -1, -1):
        column += int(np.argmin(totals[r, column : column + 3])) - 1
        seam.append(column)
    return np.array(seam[::-1])


def carve_columns(image, count):
    """The image without its `count` least vertical seams, (h, w - count, 3)."""
    energy = np.round(filters.sobel(color.rgb2gray(image)) * 2**15) / 2**15
    energy[:, 0] = energy[:, -1] = np.inf
    for _ in range(count):
        left = np.arange(energy.shape[1]) != _seam(energy)[:, None]
        energy = energy[left].reshape(len(energy), -1)
        image = image[left].reshape(len(image), -1, 3)
    return image


def carve(image, params):
    columns, rows = (int(count) for count in params["count"])
    if params["both"] or params["vertical"]:
        image = carve_columns(image, columns)
    if params["both"] or not params["vertical"]:
        image = carve_columns(image.transpose(1, 0, 2), rows).transpose(1, 0, 2)
    return image


def seam_carving(image, params):
    return transform.resize(carve(image, params), image.shape[:2], order=1)
