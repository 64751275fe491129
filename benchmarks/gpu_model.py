"""What the device path costs, counted without a GPU: python -m benchmarks.gpu_model [--k 10] [--draws 512]

The barrage, forward and backward, runs on meta tensors: every kernel that a GPU would launch is counted, with the bytes it
reads and writes, and put down to its transform. The time is predicted as the sum over launches of the longer of the launch
itself and the traffic at four fifths of the memory's bandwidth. Arithmetic is not modelled: a Triton kernel counts as one
launch that reads and writes its tensors once, so its part is a lower bound. `--eager` counts what a GPU does without Triton.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bart import Barrage, Mirror, Transform, key
from bart.bpda import combo
from bart.types import Params

GPUS = {"H100": (3e-6, 3.35e12), "V100": (5e-6, 0.9e12)}
"""Seconds a launch, and bytes a second."""
SEVERAL = {"sort": 4, "argsort": 4, "_fft_r2c": 3, "_fft_c2r": 3, "_fft_c2c": 3, "cumsum": 2, "topk": 3}
"""Launches of operators that take more than one."""
NO_LAUNCH = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "lift_fresh", "_local_scalar_dense"}
SHARE = 0.8
"""Of the bandwidth that plain kernels reach."""


class Count(TorchDispatchMode):
    """Launches, bytes and seconds by the transform at work."""

    def __init__(self, launch: float, bandwidth: float) -> None:
        super().__init__()
        self.launch, self.bandwidth = launch, bandwidth
        self.launches: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.place = "selection and order"

    def add(self, launches: int, tensors: list[Tensor]) -> None:
        moved = sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values())
        self.launches[self.place] += launches
        self.bytes[self.place] += moved
        self.seconds[self.place] += max(launches * self.launch, moved / (SHARE * self.bandwidth))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        name = func._schema.name.removeprefix("aten::").rstrip("_") or func._schema.name
        if any(t.device.type == "meta" for t in tensors) and not view and name not in NO_LAUNCH:
            self.add(SEVERAL.get(name, 1), tensors)
        return out


class _Enter(torch.autograd.Function):
    """Says, on the way back, at whose backward pass we are."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: Count, name: str) -> Tensor:
        ctx.count, ctx.name = count, name
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ctx.count.place = ctx.name
        return gradient, None, None


@contextmanager
def triton(count: Count) -> Iterator[None]:
    """The Triton kernels as one launch each, that reads and writes each of its tensors once."""

    def launch(kernel: Any, programs: int, *arguments: Any, **constants: Any) -> None:
        count.add(1, [a for a in arguments if isinstance(a, Tensor)])

    def always(x: Tensor) -> bool:
        return True

    with (
        patch("bart.kernels.launch", launch),
        patch("bart.kernels.available", always),
        patch("bart.kernels.hashing", always),
    ):
        yield


def run(count: Count, k: int, draws: int, side: int) -> None:
    """Counts one forward and backward pass of the barrage over a stack."""
    host = torch.tensor([key("gpu model", i) for i in range(draws)])
    keys, barrage = Mirror(host, host.to("meta")), Barrage(k)

    def policy(transform: Transform, x: Tensor, params: Params) -> Tensor:
        count.place = transform.name
        y = combo(transform, _Enter.apply(x, count, "selection and order"), params)
        count.place = "selection and order"
        return _Enter.apply(y, count, transform.name)

    x = torch.empty(draws, 3, side, side, device="meta", requires_grad=True)
    with count:
        y = barrage(x, barrage.draw(keys, (side, side)), policy)
        torch.autograd.grad(y.sum(), x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--draws", type=int, default=512)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--eager", action="store_true", help="without Triton kernels")
    args = parser.parse_args()
    for name, (launch, bandwidth) in GPUS.items():
        count = Count(launch, bandwidth)
        with nullcontext() if args.eager else triton(count):
            run(count, args.k, args.draws, args.side)
        total, moved = count.launches.total(), count.bytes.total()
        print(f"{name}: k = {args.k}, {args.draws} draws of {args.side} px, forward and backward: {total:,} launches, "
              f"{moved / 1e9:,.0f} GB, predicted {1e3 * count.seconds.total():,.0f} ms")  # fmt: skip
        for place, seconds in count.seconds.most_common(5):
            launches, gigabytes = count.launches[place], count.bytes[place] / 1e9
            print(f"  {place:<20} {launches:>8,} launches {gigabytes:>8.1f} GB {1e3 * seconds:>8.1f} ms")


if __name__ == "__main__":
    main()
