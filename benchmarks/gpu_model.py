"""Predict what a barrage costs on a GPU, without a GPU: python -m benchmarks.gpu_model [--k 10] [--draws 512]

The barrage, forward and backward, runs on meta tensors: every kernel that a GPU would launch is counted, with the bytes it
reads and writes, for each transform. The time is predicted as the sum over launches of the longer of the launch
itself and the traffic at four fifths of the memory's bandwidth. Arithmetic is not modelled: a Triton kernel counts as one
launch that reads and writes its tensors once, of stacks of images those of its table, so its part is a lower bound. `--eager`
counts what a GPU does without Triton. Where there is a GPU, the same pass is measured on it, as a check.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bart import Barrage, Mirror, Transform, dispatch, key
from bart.bpda.policies import combo
from bart.types import Params

GPUS = {"H200": (3e-6, 4.8e12), "H100": (3e-6, 3.35e12), "V100": (5e-6, 0.9e12)}
"""{GPU: (seconds of a launch, bytes a second of its memory)}"""
SEVERAL = {"sort": 4, "argsort": 4, "_fft_r2c": 3, "_fft_c2r": 3, "_fft_c2c": 3, "cumsum": 2, "topk": 3}
"""Launches of operators that take more than one."""
NO_LAUNCH = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "lift_fresh", "_local_scalar_dense"}
REST = "selection and order"
"""Name for all that is outside the transforms."""
SHARE = 0.8
"""Share of the bandwidth that plain kernels reach."""


class Count(TorchDispatchMode):
    """Count launches, bytes and predicted nanoseconds of each transform."""

    def __init__(self, launch: float, bandwidth: float) -> None:
        super().__init__()
        self.launch, self.bandwidth = launch, bandwidth
        self.launches: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.nanoseconds: Counter[str] = Counter()
        self.place = REST

    def add(self, launches: int, tensors: list[Tensor]) -> None:
        self.moved(launches, sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values()))

    def moved(self, launches: int, moved: int) -> None:
        self.launches[self.place] += launches
        self.bytes[self.place] += moved
        self.nanoseconds[self.place] += round(1e9 * max(launches * self.launch, moved / (SHARE * self.bandwidth)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        name = func._schema.name.removeprefix("aten::").rstrip("_") or func._schema.name
        if any(t.device.type == "meta" for t in tensors) and not view and name not in NO_LAUNCH:
            self.add(SEVERAL.get(name, 1), tensors)
        return out

    def switch(self, place: str) -> None:
        self.place = place


class Clock:
    """Measure the milliseconds of each transform on a real GPU, by events in its queue that are read at the end."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, torch.cuda.Event]] = []

    def switch(self, place: str) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append((place, event))

    def milliseconds(self) -> Counter[str]:
        torch.cuda.synchronize()
        found: Counter[str] = Counter()
        for (place, began), (_, ended) in pairwise(self.marks):
            found[place] += began.elapsed_time(ended)
        return found


class _Enter(torch.autograd.Function):
    """Report to the meter, in the backward pass, which transform runs now."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, meter: Count | Clock, name: str) -> Tensor:
        ctx.meter, ctx.name = meter, name
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ctx.meter.switch(ctx.name)
        return gradient, None, None


@contextmanager
def triton(count: Count) -> Iterator[None]:
    """Count each Triton kernel as one launch that reads and writes each of its tensors once."""

    def launch(kernel: Any, programs: int, *arguments: Any, **constants: Any) -> None:
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        if kernel.arg_names[0] != "table":
            count.add(1, tensors)
            return
        unread = set() if constants.get("CLIP", True) else {kernel.arg_names.index("inside")}
        count.moved(
            1, sum(moved(a, len(tensors[0])) for i, a in enumerate(arguments) if isinstance(a, Tensor) and i not in unread)
        )

    def moved(tensor: Tensor, images: int) -> int:
        """Return the bytes that a launch with a table of `images` lines moves of a tensor."""
        return tensor.element_size() * (tensor[0].numel() * images if tensor.dim() == 4 else tensor.numel())

    def imagined(x: Tensor) -> bool:
        return x.device.type == "meta"

    with (
        patch("bart.gpu_kernels.common.launcher.launch", launch),
        patch("bart.dispatch.available", imagined),
        patch("bart.dispatch.hashing", imagined),
    ):
        yield


def run(meter: Count | Clock, barrage: Barrage, keys: Mirror, x: Tensor) -> None:
    """Run one forward and backward pass of the barrage over a stack, with a meter."""

    def policy(transform: Transform, x: Tensor, params: Params) -> Tensor:
        meter.switch(transform.name)
        y = combo(transform, _Enter.apply(x, meter, REST), params)
        meter.switch(REST)
        return _Enter.apply(y, meter, transform.name)

    def queued(unit: str, work: Any, *arguments: Any) -> Any:
        meter.switch(unit)
        found = work(*arguments)
        meter.switch(REST)
        return found

    meter.switch(REST)
    whole = dispatch.barrage(barrage.names, x) is not None
    with patch("bart.gpu_kernels.barrage.passes.queued", queued) if whole else nullcontext():
        y = barrage.apply(x, barrage.draw(keys, (x.shape[-2], x.shape[-1])), combo if whole else policy)
        torch.autograd.grad(y, x, torch.empty_like(y))
    meter.switch(REST)


def stack(draws: int, side: int, device: str) -> tuple[Mirror, Tensor]:
    """Return the keys and images (draws, 3, side, side) of a stack; photographs on a real device."""
    host = torch.tensor([key("gpu model", i) for i in range(draws)])
    if device == "meta":
        return Mirror(host, host.to(device)), torch.empty(draws, 3, side, side, device=device, requires_grad=True)
    from tests.support.images import photographs

    four = photographs(side, side).contiguous()
    return Mirror.of(host, device), four.repeat(-(-draws // 4), 1, 1, 1)[:draws].to(device).requires_grad_()


def predict(args: argparse.Namespace) -> None:
    """Print the predicted time of each GPU, and the transforms that cost most."""
    for name, (launch, bandwidth) in GPUS.items():
        count = Count(launch, bandwidth)
        keys, x = stack(args.draws, args.side, "meta")
        with nullcontext() if args.eager else triton(count), count:
            run(count, Barrage(args.k), keys, x)
        total, moved = count.launches.total(), count.bytes.total()
        print(f"{name}: k = {args.k}, {args.draws} draws of {args.side} px, forward and backward: {total:,} launches, "
              f"{moved / 1e9:,.0f} GB, predicted {count.nanoseconds.total() / 1e6:,.0f} ms")  # fmt: skip
        for place, nanoseconds in count.nanoseconds.most_common(args.places):
            launches, gigabytes = count.launches[place], count.bytes[place] / 1e9
            print(f"  {place:<20} {launches:>8,} launches {gigabytes:>8.1f} GB {nanoseconds / 1e6:>8.1f} ms")


def measure(args: argparse.Namespace) -> None:
    """Print the time on this machine's GPU: the whole pass, best of five, and the transforms that cost most."""
    keys, x = stack(args.draws, args.side, "cuda")
    barrage, times = Barrage(args.k), []
    for _ in range(3):
        run(Clock(), barrage, keys, x)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    for _ in range(5):
        start = time.perf_counter()
        y = barrage.apply(x, barrage.draw(keys, (args.side, args.side)))
        torch.autograd.grad(y, x, torch.ones_like(y))
        queued = time.perf_counter() - start
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start, queued))
    memory = (torch.cuda.max_memory_allocated() - before) / 1e9
    best, queued = min(times)
    print(f"{torch.cuda.get_device_name()}, measured: {1e3 * best:,.1f} ms, of which the host was queueing for "
          f"{1e3 * queued:,.1f} ms; peak memory {memory:.2f} GB")  # fmt: skip
    clock = Clock()
    run(clock, barrage, keys, x)
    for place, milliseconds in clock.milliseconds().most_common(args.places):
        print(f"  {place:<20} {milliseconds:>8.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--draws", type=int, default=512)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--places", type=int, default=5, help="how many of the costliest places to name")
    parser.add_argument("--eager", action="store_true", help="without Triton kernels")
    args = parser.parse_args()
    predict(args)
    if torch.cuda.is_available():
        measure(args)


if __name__ == "__main__":
    main()
