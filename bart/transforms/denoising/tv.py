"""Denoise by total variation with Chambolle's projections. Group 10, denoising; surrogate gradient.

    u = x + weight div q,   q <- (q + g) / (1 + |g|),   g = tau / weight grad u

A problem is one channel (two axes), or the image with its colour axis as a third one. Each problem stops on its own, when its
energy changes by less than 2e-4 of the first one; photographs take 5 to 90 of at most 200 iterations. On a device a stopped
problem stays in the batch with a step of zero, and nothing waits. If the host learns in time that all problems have stopped,
it queues no more. On a CPU each problem is solved alone, until it stops, by compiled loops (`bart.cpu_kernels.denoising.tv`),
which have the bits of the lines below on NumPy arrays.

The derivative is that of lagged diffusivity. With d = 1 / (|grad u| / weight + 1 / (40 tau)) held constant the solution is u =
(1 - div d grad)^-1 x, a linear map that is its own adjoint. Eight Jacobi-Chebyshev steps from the cotangent apply it. The
cosine with the fully unrolled derivative is on average .92 and at least .82 for white cotangents, .96 and .87 for smooth ones
(float64, photographs, weight .06 to .24), with norms within 10 %. The identity has .53 and .20, .79 and .52. Unrolling the
last five iterations has .92 and .80, .95 and .87, and needs their memory. The 40 is how many iterations a flat region
typically gets before the energy stops falling.

Sources: `skimage.restoration.denoise_tv_chambolle`; Chambolle, J. Math. Imaging Vis. 2004; Vogel and Oman, SIAM J. Sci.
Comput. 1996 (lagged diffusivity).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bart import rng
from bart.cpu_kernels import map_images
from bart.types import Gradient, Params, Size, Transform

Array = Any
"""A NumPy array (c, h, w) or a tensor (n, c, h, w). The functions below use what both have, counting axes from the last."""

EPSILON, ITERATIONS = 2e-4, 200
"""The relative change of the energy at which a problem stops, and the most iterations."""
STEPS, HORIZON, LOWEST = 8, 40, 0.2
"""Constants of the derivative:

Chebyshev steps, iterations for which a flat region diffuses, and the least eigenvalue covered.
"""


def draw(keys: Tensor, size: Size) -> Params:
    """Return the parameters, one key an image.

    weight      (n,) in .05...25, more is smoother
    per_channel (n,) bool: each channel alone, or across colour too
    """
    return {"weight": rng.uniform(keys, "weight", 0.05, 0.25), "per_channel": rng.coin(keys, "per_channel")}


def _pairs(x: Array, k: int) -> tuple[Array, Array]:
    """Return views of all entries that have a next neighbour along the k-th axis from the right, and of these neighbours.

    Columns are taken over all rows at once, which is contiguous. So the entry that links two rows has to be zero.
    """
    if k == 0:
        x = x.reshape(*x.shape[:-2], -1)
    rest = (slice(None),) * k
    return x[(..., slice(None, -1), *rest)], x[(..., slice(1, None), *rest)]


class _Grid:
    """Hold the working memory of a problem or a batch, and compute finite differences in it."""

    def __init__(self, x: Array, coupled: Array) -> None:
        """Allocate memory like `x`. `coupled` is 0 or 1, whether the colour axis counts; it is ignored for one channel."""
        self.xp: Any = torch if isinstance(x, Tensor) else np
        self.coupled, self.axes = coupled, 2 + (x.shape[-3] > 1)
        self.tau = 1 / (4 + 2 * coupled)
        self.slope = self.field(x)
        self.norm, self.scratch = self.xp.zeros_like(x), self.xp.zeros_like(x)

    def field(self, x: Array) -> Array:
        """Return a zero vector field on `x`: along columns, rows and, if there are several, channels."""
        return self.xp.stack([self.xp.zeros_like(x)] * self.axes)

    def gradient(self, x: Array) -> None:
        """Write forward differences to `slope`, the last one of each axis zero, and their magnitude to `norm`."""
        for k, slope in enumerate(self.slope):
            low, high = _pairs(x, k)
            self.xp.subtract(high, low, out=_pairs(slope, k)[0])
        self.slope[0][..., -1] = 0
        if self.axes == 3:
            self.slope[2] *= self.coupled
        self.xp.multiply(self.slope[0], self.slope[0], out=self.norm)
        for slope in self.slope[1:]:
            self.norm += self.xp.multiply(slope, slope, out=self.scratch)
        self.xp.sqrt(self.norm, out=self.norm)

    def divergence(self, fields: Array, out: Array) -> None:
        """Write the negative adjoint of the differences to `out`, for fields whose last entries are zero."""
        self.xp.add(fields[0], fields[1], out=out)
        if self.axes == 3:
            out += fields[2]
        for k, field in enumerate(fields):
            inner = _pairs(out, k)[1]
            inner -= _pairs(field, k)[0]

    def energy(self, divergence: Array) -> Array:
        """Return the energy of each problem, over weight^2 / tau, from `norm` and the divergence.

        Coupled channels all get the energy of their problem.
        """
        self.xp.multiply(divergence, divergence, out=self.scratch)
        energy = self.tau * self.scratch.sum(axis=(-2, -1), keepdims=True) + self.norm.sum(axis=(-2, -1), keepdims=True)
        return energy + self.coupled * (energy.mean(axis=-3, keepdims=True) - energy)


class _Watch:
    """Find out whether all problems have stopped, without waiting for the device."""

    event: Any = None
    running: Any = None

    def over(self, active: Array) -> bool:
        """Return whether all problems are known to have stopped. On CUDA, the answer is that of an earlier call."""
        if not isinstance(active, Tensor) or active.device.type == "cpu":
            return not active.any()
        if active.device.type != "cuda" or torch.cuda.is_current_stream_capturing():
            return False
        if self.event is not None and not self.event.query():
            return False
        over = self.event is not None and not self.running
        self.running = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(active.any(), non_blocking=True)
        self.event = torch.cuda.Event()
        self.event.record(torch.cuda.current_stream(active.device))
        return over


def _advance(q: Array, slope: Array, norm: Array, active: Array) -> None:
    """Make one step of the projections, in place."""
    if isinstance(q, Tensor):
        q.addcmul_(slope, active).div_(norm.mul_(active).add_(1))
    else:  # one problem, which has not stopped
        q += slope
        norm += 1
        q /= norm


def _solve(x: Array, weight: Array, coupled: Array) -> Array:
    """Return the denoised `x`; `weight` and `coupled` are numbers, or broadcast against it."""
    grid, watch = _Grid(x, coupled), _Watch()
    q, divergence, u, start = grid.field(x), grid.xp.zeros_like(x), grid.xp.zeros_like(x), x * (grid.tau / weight)
    active = first = previous = 0.0
    for i in range(ITERATIONS - 1):
        grid.xp.multiply(divergence, grid.tau, out=u)
        u += start
        grid.gradient(u)
        energy = grid.energy(divergence)
        if i == 0:
            first, active = energy, energy > 0
        else:
            active = active * (abs(previous - energy) >= EPSILON * first)
        if watch.over(active):
            break
        previous = energy
        _advance(q, grid.slope, grid.norm, active)
        grid.divergence(q, divergence)
    return x + weight * divergence


def _spread(x: Array, edges: list[Array], out: Array) -> None:
    """Add div d grad x to `out`, from the diffusivities between neighbours along each axis."""
    for k, edge in enumerate(edges):
        low, high = _pairs(x, k)
        flux = (high - low) * edge
        low, high = _pairs(out, k)
        low += flux
        high -= flux


def _diffuse(v: Array, u: Array, weight: Array, coupled: Array) -> Array:
    """Return about (1 - div d grad)^-1 v with the diffusivity d of the solution `u`. Linear in `v`; constants stay."""
    grid = _Grid(u, coupled)
    grid.gradient(u)
    diffusivity = 1 / (grid.norm / weight + 1 / (HORIZON * grid.tau))
    edges = [_pairs(diffusivity, k)[0] * (coupled if k == 2 else 1) for k in range(grid.axes)]
    edges[0][..., u.shape[-1] - 1 :: u.shape[-1]] = 0
    degree = grid.xp.ones_like(u)
    for k, edge in enumerate(edges):
        for end in _pairs(degree, k):
            end += edge
    inverse, residual = 1 / degree, grid.xp.zeros_like(u)
    _spread(v, edges, residual)
    step = residual * inverse / _centre()
    out = v + step
    for before, own in _chebyshev():
        residual -= step
        _spread(step, edges, residual)
        step *= before
        step += grid.xp.multiply(residual, inverse, out=grid.scratch) * own
        out += step
    return out


def _centre() -> float:
    """Return the middle of the eigenvalues that are covered."""
    return (2 + LOWEST) / 2


def _chebyshev() -> list[tuple[float, float]]:
    """Return, for each Chebyshev step after the first, the factor of the step before and that of the residual."""
    centre, radius, factors = _centre(), (2 - LOWEST) / 2, []
    rho = radius / centre
    for _ in range(STEPS - 1):
        rho, last = 1 / (2 * centre / radius - rho), rho
        factors.append((rho * last, 2 * rho / radius))
    return factors


def _host(image: Array, params: dict[str, Array]) -> Array:
    """Denoise one image, or, given its solution `u`, differentiate: its channels in turn, or all together."""
    from bart.cpu_kernels.denoising.tv import diffuse, solve

    weight, alone = float(params["weight"]), params["per_channel"]
    tau = 1 / (4 if alone else 6)

    def problem(part: slice) -> Array:
        if "u" in params:
            return diffuse(image[part], params["u"][part], weight, 1 / (HORIZON * tau), _chebyshev(), _centre())
        return solve(image[part], weight, tau, ITERATIONS - 1, EPSILON)

    return np.concatenate([problem(slice(c, c + 1)) for c in range(3)]) if alone else problem(slice(3))


def _device(function: Any, images: tuple[Tensor, ...], params: Params) -> Tensor:
    """Compute the whole batch."""
    weight, coupled = (v.to(images[0].dtype)[:, None, None, None] for v in (params["weight"], ~params["per_channel"]))
    return function(*(image.contiguous() for image in images), weight, coupled)


class _Denoise(torch.autograd.Function):
    """Solve forward, and apply lagged diffusivity backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, per_channel: Tensor) -> Tensor:
        params = {"weight": weight, "per_channel": per_channel}
        on_host = x.device.type == "cpu" and x.dtype == torch.float32
        u = map_images(_host, x, params) if on_host else _device(_solve, (x,), params)
        ctx.save_for_backward(u, weight, per_channel)
        return u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        u, weight, per_channel = (t.detach() for t in ctx.saved_tensors)
        params = {"weight": weight, "per_channel": per_channel}
        if u.device.type == "cpu" and u.dtype == torch.float32:
            return map_images(_host, gradient, {**params, "u": u}), None, None
        return _device(_diffuse, (gradient, u), params), None, None


def apply(x: Tensor, params: Params) -> Tensor:
    """Return the minimiser u of weight TV(u) + |u - x|^2 / 2 as Chambolle's iteration reaches it. x (n, 3, h, w).

    The backward pass is lagged diffusivity.
    """
    return _Denoise.apply(x, params["weight"], params["per_channel"])


TV_CHAMBOLLE = Transform("tv_chambolle", "denoising", draw, apply, Gradient.SURROGATE, {"weight": 0.25, "per_channel": 1})
