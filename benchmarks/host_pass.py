"""Make passes of the barrage without a GPU, one for each line of the input, and print what the host did for each: a program.

`benchmarks.host` runs it for a build and for an earlier one, so it uses only what both have. Arguments: k, draws, side.
"""

import json
import sys
import time
from collections import Counter
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from triton.runtime.jit import JITFunction

import bart
from bart.bpda.policies import combo

QUIET = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "lift_fresh"}
"""Operators that start nothing on a device."""
counts: Counter[str] = Counter()
within: Counter[str] = Counter()
"""Starts within what was recorded."""


class Started:
    """Replace the compiled code of a kernel: each start is counted and does nothing."""

    def __getitem__(self, grid: Any) -> "Started":
        return self

    def __call__(self, *arguments: Any) -> None:
        counts["launches"] += 1


STARTED = Started()


def compiled(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> Started:
    """Replace Triton's own start of a kernel, which compiles it."""
    counts["launches"] += 1
    return STARTED


def recorded(device: torch.device, *works: Any) -> list[Any]:
    """Replace what a GPU records: do each work once, by which memory and kernels are found; a replay is counted."""

    def replay() -> None:
        counts["replays"] += 1

    before = counts.total()
    with Operators():
        for work in works:
            work()
    within["starts"] = counts.total() - before
    return [replay] * len(works)


class Operators(TorchDispatchMode):
    """Count operators of torch that a GPU would start."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        meta = any(t.device.type == "meta" for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor))
        counts["operators"] += meta and not view and func._schema.name.removeprefix("aten::") not in QUIET
        return out


def nodes(y: Tensor) -> int:
    """Return the number of nodes through which a gradient of `y` goes, but for that of the leaf."""
    seen, left = set[Any](), [y.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen and type(node).__name__ != "AccumulateGrad":
            seen.add(node)
            left += [following for following, _ in node.next_functions]
    return len(seen)


def one_pass(barrage: bart.Barrage, keys: bart.Mirror, x: Tensor) -> Tensor:
    """Go forward and backward once; return the result, with its graph."""
    y = barrage.apply(x, barrage.draw(keys, (x.shape[-2], x.shape[-1])), combo)
    torch.autograd.grad(y, x, torch.empty_like(y), retain_graph=True)
    return y


def main() -> None:
    """Answer each line by a pass that is timed, then by one that is counted."""
    k, draws, side = map(int, sys.argv[1:4])
    barrage, x = bart.Barrage(k), torch.empty(draws, 3, side, side, device="meta", requires_grad=True)
    for number, _ in enumerate(sys.stdin):
        host = torch.tensor([bart.key("host", number, i) for i in range(draws)])
        keys = bart.Mirror(host, host.to("meta"))
        began = time.process_time()
        one_pass(barrage, keys, x)
        spent = time.process_time() - began
        counts.clear()
        with Operators():
            found = nodes(one_pass(barrage, keys, x))
        starts = {name: counts[name] for name in ("launches", "replays", "operators")}
        print(json.dumps({**starts, "seconds": spent, "nodes": found, "recorded": within["starts"]}), flush=True)


def imagined(x: Tensor) -> bool:
    """Return whether a tensor stands for one on a GPU."""
    return x.device.type == "meta"


def patches() -> list[Any]:
    """Return what puts the stand-ins in place, as far as the build has what they stand for."""
    found = [
        patch("bart.dispatch.available", imagined),
        patch("bart.dispatch.hashing", imagined),
        patch.object(JITFunction, "run", compiled),
    ]
    try:
        from bart.gpu_kernels.barrage import graphs
    except ImportError:  # a build that records nothing
        return found
    return [*found, patch.object(graphs, "recorded", recorded), patch.object(graphs, "records", imagined)]


if __name__ == "__main__":
    for each in patches():
        each.start()
    main()
