"""Independent truth for every deterministic transform.

An oracle is `(image, params) -> image`: NumPy, (h, w, 3) float64 in [0, 1], one image with its own parameters (the dict of
`Transform.draw`, without the leading dimension), computed by the library that the article used or by the plain definition.
"""

from tests.oracles import grey, precision

ORACLES = {
    "color_precision": precision.color_precision,
    "grey_mix": grey.grey_mix,
    "grey_partial_mix": grey.grey_partial_mix,
    "grey_two_thirds": grey.grey_two_thirds,
    "grey_one_channel": grey.grey_one_channel,
}
