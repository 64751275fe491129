"""Define the norms of perturbations with few changed values: L1, the sum of their sizes, and L0, their number.

Both count values, of which a pixel has three. Their projections are exact for the ball and [0, 1] together: for the projection
onto an L1 ball alone, a clip to [0, 1] would leave part of the radius unused.

Source: Croce and Hein, ICML 2021 (L1).
"""

import torch
from torch import Tensor

from bart import rng
from bart.ball.norm import Norm, room


def _like(flat: Tensor, x: Tensor) -> Tensor:
    """Return values (n, d) in the shape and the type of the images `x`."""
    return flat.to(x.dtype).view_as(x)


# L1


def _random_l1(clean: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Return uniform points of the L1 ball: exponential numbers with random signs, divided by their sum and one more."""
    shape = tuple(clean.shape[1:])
    sizes, more = -torch.log1p(-rng.field(seeds, shape)), -torch.log1p(-rng.field(seeds, (1, 1, 1), 1))
    signs = torch.where(rng.field(seeds, shape, 2) < 0.5, -1.0, 1.0).float()
    return clean + eps * signs * sizes / (sizes.sum((1, 2, 3), keepdim=True) + more)


def project_l1(x: Tensor, clean: Tensor, eps: float | Tensor) -> Tensor:
    """Return the nearest point of the L1 ball and of [0, 1] (proposition 2.1 of the article); `eps` is a number, or (n,).

    Each value moves by clip(|x - clean| - t, 0, room), where t is 0 if that is in the ball; else these moves add up to `eps`.
    Their sum is piecewise linear in t: it is known where the pieces meet, and t lies on a line between two such places. In
    double precision, since a sum over an image loses digits of eps.
    """
    delta = x - clean
    size, most = delta.abs().flatten(1).double(), room(clean, delta).flatten(1).double()
    t = _threshold(size, most, torch.as_tensor(eps, dtype=size.dtype, device=size.device).expand(len(x))[:, None])
    return (clean + delta.sign() * _like((size - t[:, None]).clamp_min(0), x)).clamp(0, 1)


def _threshold(size: Tensor, most: Tensor, eps: Tensor) -> Tensor:
    """Return the t, (n,), of at least 0, for which sum(clip(size - t, 0, most)) is `eps` (n, 1), or 0 if it is less there."""
    count = size.shape[1]
    meets, order = torch.cat([size, (size - most).clamp_min(0)], 1).sort(1, descending=True)
    slope = torch.where(order < count, 1.0, -1.0).to(size.dtype).cumsum(1)  # values between their ends, below each place
    gaps = meets - torch.cat([meets[:, 1:], torch.zeros_like(meets[:, :1])], 1)
    after = (slope * gaps).cumsum(1)  # the sum at the next place
    piece = (after < eps).sum(1, keepdim=True).clamp_max(2 * count - 1)
    before = after.gather(1, piece) - (slope * gaps).gather(1, piece)
    t = meets.gather(1, piece) - (eps - before) / slope.gather(1, piece)
    return torch.where(after[:, -1] > eps[:, 0], t[:, 0].clamp_min(0), 0)


def _steepest_l1(direction: Tensor) -> Tensor:
    """Return a step of length 1 of the value with the largest derivative; none where all are 0."""
    flat = direction.flatten(1)
    largest = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign()).view_as(direction)


def _towards_l1(clean: Tensor, total: Tensor, eps: float, softness: Tensor) -> Tensor:
    """Return the point of the ball and of [0, 1] that is farthest along `total`; it has no softer form.

    The values with the largest sums go to black or white, one after the other, until the radius is used up.
    """
    most = room(clean, total).flatten(1).double()
    order = total.abs().flatten(1).argsort(dim=1, descending=True, stable=True)
    sorted_most = most.gather(1, order)
    left = (eps - (sorted_most.cumsum(1) - sorted_most)).clamp_min(0)
    move = torch.zeros_like(most).scatter(1, order, sorted_most.minimum(left))
    return (clean + total.sign() * _like(move, clean)).clamp(0, 1)


# L0


def _random_l0(clean: Tensor, seeds: Tensor, eps: float) -> Tensor:
    """Return images of which `eps` values, at random places, are replaced by uniform numbers in [0, 1]."""
    shape = tuple(clean.shape[1:])
    return torch.where(_largest(rng.field(seeds, shape), eps), rng.field(seeds, shape, 1), clean)


def _project_l0(x: Tensor, clean: Tensor, eps: float) -> Tensor:
    """Return the nearest point of the ball and of [0, 1]: the `eps` values stay that would lose most by going back."""
    inside = x.clamp(0, 1)
    saved = (x - clean).square() - (x - inside).square()
    return torch.where(_largest(saved, eps), inside, clean)


def _towards_l0(clean: Tensor, total: Tensor, eps: float, softness: Tensor) -> Tensor:
    """Return the point of the ball and of [0, 1] that is farthest along `total`: `eps` values go to black or white."""
    move = room(clean, total)
    return torch.where(_largest(total.abs() * move, eps), (clean + total.sign() * move).clamp(0, 1), clean)


def _largest(values: Tensor, count: float) -> Tensor:
    """Return which values are among the `count` largest of their image, like `values`, bool; of equals, the first."""
    flat = values.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)[:, : int(count)]
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, order, True).view_as(values)


L1 = Norm(_random_l1, project_l1, _steepest_l1, lambda d: d.abs().flatten(1).sum(1), _towards_l1)
L0 = Norm(_random_l0, _project_l0, None, lambda d: (d != 0).flatten(1).sum(1).to(d.dtype), _towards_l0, unit=1)
