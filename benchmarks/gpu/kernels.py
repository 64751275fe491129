"""Check every kernel against the eager code on this machine's GPU: python -m benchmarks.gpu.kernels [--jobs 8] [NAME ...]

Values, vector-Jacobian products, and the same bits three times over: for stacks, odd sizes, one image, grey images. Prints a
line a kernel, and ends with 1 if any fails. Kernels are compiled by some processes at once. Without a GPU, with
TRITON_INTERPRET=1, Triton's interpreter computes one small image instead.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import torch
from torch import Tensor

from bart import GREY, TRANSFORMS, Gradient, Transform, dispatch
from bart.types import Params
from tests.support.images import keys, photographs

VALUE, RARE = 2e-3, 2e-3
"""A difference between values that counts as wrong, and the share of values that may be wrong: rounding breaks ties."""
PRODUCT = 0.03
"""The largest relative error of a vector-Jacobian product, in the 2-norm, of an image."""
TIMES, TWICE = 3, 2
"""How often a kernel has to give the same bits, and how often in the interpreter, where nothing runs at once."""

Function = Callable[[Tensor, Params], Tensor]


class Case(NamedTuple):
    """Describe the images of a check: how many of which height and width, and whether they are grey."""

    images: int
    height: int
    width: int
    grey: bool = False


CASES = (Case(8, 224, 224), Case(3, 33, 47), Case(1, 96, 80), Case(4, 64, 48, grey=True), Case(64, 32, 32))
REHEARSED = (Case(1, 17, 18),)
"""Cases on a GPU, and in the interpreter."""


def inputs(transform: Transform, case: Case, device: torch.device) -> tuple[Tensor, Params]:
    """Return photographs and drawn parameters. Grey ones have three equal channels, as a barrage gives them to kernels."""
    x = photographs(case.height, case.width).float().contiguous()
    x = x.repeat(-(-case.images // len(x)), 1, 1, 1)[: case.images]
    params = transform.draw(keys(case.images), (case.height, case.width))
    if case.grey:
        x = x[:, :1].repeat(1, 3, 1, 1)
        alone = {"per_channel": True, "ycbcr": False}
        params |= {name: torch.full_like(params[name], flag) for name, flag in alone.items() if name in params}
    return x.to(device), {name: value.to(device) for name, value in params.items()}


def found(function: Function, x: Tensor, params: Params, cotangent: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the value of a function, and its product with a cotangent if one is given."""
    leaf = x.clone().requires_grad_(cotangent is not None)
    y = function(leaf, params)
    return y.detach(), None if cotangent is None else torch.autograd.grad(y, leaf, cotangent)[0]


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Return whether two results have the same bits."""
    return one is other is None or (one is not None and other is not None and torch.equal(one, other))


def faults(name: str, case: Case, device: torch.device) -> list[str]:
    """Return what is wrong with a kernel in one case, in words."""
    transform, kernel = TRANSFORMS[name], dispatch._load(dispatch.KERNELS[name])
    x, params = inputs(transform, case, device)
    exact = transform.gradient is not Gradient.NONE
    cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(device) if exact else None
    (ours, product), *again = [found(kernel, x, params, cotangent) for _ in range(TIMES if device.type == "cuda" else TWICE)]
    twin, truth = found(transform.eager, x, params, cotangent)
    wrong = []
    if not all(_same(ours, value) and _same(product, other) for value, other in again):
        wrong.append("other bits another time")
    share = ((ours - twin).abs() > VALUE).float().mean().item()
    if not ours.isfinite().all() or share >= RARE:
        wrong.append(f"{100 * share:.2g} % of the values differ")
    if product is not None and truth is not None:
        off = (product - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1).clamp_min(1e-9)
        if not product.isfinite().all() or off.max() >= PRODUCT:
            wrong.append(f"a product is off by {off.max().item():.2g}")
    return [f"{case.images} images of {case.height} x {case.width}{', grey' if case.grey else ''}: {what}" for what in wrong]


def checked(name: str) -> tuple[str, list[str], float]:
    """Return a kernel's name, its faults in all cases, and the seconds that took, with compilation."""
    began, rehearsed = time.perf_counter(), not torch.cuda.is_available()
    device, wrong = torch.device("cpu" if rehearsed else "cuda"), []
    for case in REHEARSED if rehearsed else CASES:
        if not case.grey or name in GREY:
            try:
                wrong += faults(name, case, device)
            except Exception:
                wrong.append(f"{case}: {traceback.format_exc(limit=-1).strip().splitlines()[-1]}")
    return name, wrong, time.perf_counter() - began


def main() -> None:
    """Print a line a kernel."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME", help="a transform; default: all that have a kernel")
    options.add_argument("--jobs", type=int, default=1, help="processes")
    asked = options.parse_args()
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        raise SystemExit("no GPU: set TRITON_INTERPRET=1 to rehearse the checks in Triton's interpreter")
    failed, names = 0, asked.names or list(dispatch.KERNELS)
    with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
        for name, wrong, seconds in pool.map(checked, names):
            failed += bool(wrong)
            print(f"{name:<20} {'ok' if not wrong else 'FAILED: ' + '; '.join(wrong)} ({seconds:.0f} s)", flush=True)
    print(f"{len(names) - failed} of {len(names)} kernels compute what the eager code does, with the same bits every time")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
