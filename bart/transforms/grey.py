"""Mix the channels in four ways. Group 9, grey scale; all linear in the image, so gradients are exact."""

import torch
from torch import Tensor

from bart import rng
from bart.cpu_kernels.clip import fits
from bart.transforms.color import constant
from bart.types import Gradient, Params, Size, Transform

GROUP = "grey"
CHANNELS = ("red", "green", "blue")


def _ratio(keys: Tensor, count: int) -> Tensor:
    """Return `count` numbers U(0, 1) divided by their sum, (n, count)."""
    ratio = rng.uniform(keys, "ratio", shape=(count,)) + 2.0**-24  # the sum is never zero
    return ratio / ratio.sum(dim=1, keepdim=True)


def _channel(keys: Tensor) -> Tensor:
    """Return a channel, (n,) int 0..2."""
    return rng.integers(keys, "channel", 0, 2)


def _mix(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each pixel's RGB by its image's matrix (n, 3, 3)."""
    if fits(x):
        from bart.cpu_kernels.colours import Grey

        fast: Tensor = Grey.apply(x, matrix)
        return fast
    return torch.einsum("nij,njhw->nihw", matrix.to(x.dtype), x)


def _identity(device: torch.device) -> Tensor:
    """Return the matrix that changes nothing, (3, 3)."""
    return constant(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), False, device, torch.float32)


def _scaled(factors: Tensor) -> Tensor:
    """Return matrices that multiply each channel by its factor, (n, 3, 3) from (n, 3)."""
    return factors[:, :, None] * _identity(factors.device)


def _unit(channel: Tensor) -> Tensor:
    """Return one-hot rows, (n, 3)."""
    return _identity(channel.device)[channel]


def _weights(alone: Tensor, ratio: Tensor) -> Tensor:
    """Return the weight of each channel in the mix of two, (n, 3): `ratio` (n, 2) in their order, 0 for the third, `alone`."""
    other = 1 - alone
    second = (other.cumsum(1) - 1).clamp_min(0)  # the rank of each channel among the two that are mixed
    return other * (ratio[:, :1] + second * (ratio[:, 1:] - ratio[:, :1]))


def draw_mix(keys: Tensor, size: Size) -> Params:
    """Return `ratio` (n, 3), which sums to 1, one key an image."""
    return {"ratio": _ratio(keys, 3)}


def apply_mix(x: Tensor, params: Params) -> Tensor:
    """Set all channels to ratio . x."""
    return _mix(x, params["ratio"][:, None, :].expand(-1, 3, -1))


def draw_partial_mix(keys: Tensor, size: Size) -> Params:
    """Return `ratio` (n, 3), which sums to 1, and `keep` (n, 3) = max(U(0, 1), 0.2), one key an image."""
    return {"ratio": _ratio(keys, 3), "keep": rng.uniform(keys, "keep", shape=(3,)).clamp_min(0.2)}


def apply_partial_mix(x: Tensor, params: Params) -> Tensor:
    """Return x keep + grey (1 - keep) for each channel."""
    keep = params["keep"]
    return _mix(x, _scaled(keep) + (1 - keep)[:, :, None] * params["ratio"][:, None, :])


def draw_two_thirds(keys: Tensor, size: Size) -> Params:
    """Return `channel` (n,) int 0..2, which stays, and `ratio` (n, 2) of the other two in their order, which sums to 1."""
    return {"channel": _channel(keys), "ratio": _ratio(keys, 2)}


def apply_two_thirds(x: Tensor, params: Params) -> Tensor:
    """Replace the two other channels by their mix."""
    alone = _unit(params["channel"])
    return _mix(x, _scaled(alone) + (1 - alone)[:, :, None] * _weights(alone, params["ratio"])[:, None, :])


def draw_one_channel(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    channel     (n,) int 0..2, which is altered
    ratio       (n, 2) of the other two in their order, which sums to 1
    mix         (n,) in 0.1..0.9, the share of their mix
    """
    return {"channel": _channel(keys), "ratio": _ratio(keys, 2), "mix": rng.uniform(keys, "mix", 0.1, 0.9)}


def apply_one_channel(x: Tensor, params: Params) -> Tensor:
    """Set channel c to g mix + x_c (1 - mix), where g is the mix of the two others, which stay."""
    alone = _unit(params["channel"])
    strength = alone * params["mix"][:, None]
    return _mix(x, _scaled(1 - strength) + strength[:, :, None] * _weights(alone, params["ratio"])[:, None, :])


GREY_MIX = Transform("grey_mix", GROUP, draw_mix, apply_mix, Gradient.EXACT, {"ratio": 1})
GREY_PARTIAL_MIX = Transform(
    "grey_partial_mix", GROUP, draw_partial_mix, apply_partial_mix, Gradient.EXACT, {"ratio": 1, "keep": 1}
)
GREY_TWO_THIRDS = Transform(
    "grey_two_thirds",
    GROUP,
    draw_two_thirds,
    apply_two_thirds,
    Gradient.EXACT,
    {"channel": 2, "ratio": 1},
    words={"channel": CHANNELS},
)
GREY_ONE_CHANNEL = Transform(
    "grey_one_channel",
    GROUP,
    draw_one_channel,
    apply_one_channel,
    Gradient.EXACT,
    {"channel": 2, "ratio": 1, "mix": 0.9},
    version=2,
    words={"channel": CHANNELS},
)
