"""The table of transforms: one line each, in the order of the article's groups."""

from bart.transforms.grey import GREY_MIX, GREY_ONE_CHANNEL, GREY_PARTIAL_MIX, GREY_TWO_THIRDS
from bart.transforms.precision import COLOR_PRECISION
from bart.types import Transform

TRANSFORMS: dict[str, Transform] = {
    transform.name: transform
    for transform in (
        COLOR_PRECISION,
        GREY_MIX,
        GREY_PARTIAL_MIX,
        GREY_TWO_THIRDS,
        GREY_ONE_CHANNEL,
    )
}
"""The transforms by name."""
