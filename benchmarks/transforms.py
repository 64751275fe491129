"""Measure the milliseconds an image of every transform, of the barrage, and of their oracles: python -m benchmarks.transforms

The transforms run on this machine's GPU, or on its CPU if it has none. The oracle is scikit-image, Pillow or NumPy in one
process, in the same run. Each time is the best of some repeats. Memory is the peak of the forward and backward pass above the
level before it: of the allocator on a GPU, of the process on a CPU. The latter is sampled every 2 ms, so short peaks can be
missed.
"""

import argparse
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from skimage.util import random_noise
from torch import Tensor

from bart import TRANSFORMS, Barrage, Gradient, Mirror, Transform, key
from bart.defenses.barrage import Draws
from bart.types import Params
from tests.oracles import ORACLES
from tests.support.images import photographs

KINDS = ("gaussian", "poisson", "salt", "pepper", "s&p", "speckle")


def noise(image: np.ndarray, params: dict[str, np.ndarray]) -> np.ndarray:
    return random_noise(image, KINDS[int(params["kind"])], rng=0)


def oracle(name: str, images: list[np.ndarray], params: dict[str, Tensor]) -> list[np.ndarray]:
    """Return the images after the oracle, one after another."""
    function, values = ORACLES.get(name, noise), {k: v.cpu().numpy() for k, v in params.items()}
    return [np.clip(function(image, {k: v[i] for k, v in values.items()}), 0, 1) for i, image in enumerate(images)]


def oracle_barrage(images: list[np.ndarray], draws: Draws) -> list[np.ndarray]:
    """Return the images after the oracles of a barrage's draws."""
    for arrangement, parts in draws.rounds:
        done: list[np.ndarray] = []
        images = [images[i] for i in arrangement.gather.tolist()]
        for part in parts:
            done += oracle(part.name, images[len(done) : len(done) + part.images], part.params)
        images = done
    return images


def measured(function: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, float]:
    """Return the best seconds of some repeats, and the peak memory in GB."""
    function()
    times = []
    with peak(device) as memory:
        for _ in range(repeats):
            synchronize(device)
            start = time.perf_counter()
            function()
            synchronize(device)
            times.append(time.perf_counter() - start)
    return min(times), memory[0]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@contextmanager
def peak(device: torch.device) -> Iterator[list[float]]:
    """Yield a list whose first entry becomes, at the end, the peak memory in GB above the level before."""
    found = [0.0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield found
        found[0] = (torch.cuda.max_memory_allocated() - before) / 1e9
        return
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be used again and not be counted
    over, before, most = threading.Event(), resident(), [0]

    def watch() -> None:
        while not over.wait(0.002):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield found
    over.set()
    watcher.join()
    found[0] = max(0, most[0] - before) / 1e9


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def row(
    name: str,
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    gradient: bool,
    truth: Callable[[], object],
    count: int,
    repeats: int,
) -> str:
    """Return one line of the table. `truth` runs the oracle on `count` images."""

    def backward() -> None:
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(forward(leaf).sum(), leaf)

    with torch.no_grad():
        ahead, memory = measured(lambda: forward(x), x.device, repeats)
    both = float("nan")
    if gradient:
        both, memory = measured(backward, x.device, repeats)
    start = time.perf_counter()
    if count:
        truth()
    theirs = (time.perf_counter() - start) / count if count else float("nan")
    ahead, both = ahead / len(x), both / len(x)
    return f"{name:<18} {1e3 * ahead:8.2f} {1e3 * both:12.2f} {memory:8.2f} {1e3 * theirs:10.2f} {theirs / ahead:8.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--oracles", type=int, default=8, help="images through the oracle; the barrage's go up to a batch of 32"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ks", type=int, nargs="*", default=[1, 5, 10])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {args.threads} threads"
    size = (args.side, args.side)
    x = photographs(*size).contiguous().repeat(-(-args.batch // 4), 1, 1, 1)[: args.batch].to(device)
    images = list(x.permute(0, 2, 3, 1).double().cpu().numpy())
    print(f"{name}; batch {args.batch}, {args.side} px; ms an image, GB")
    print(f"{'':<18} {'forward':>8} {'and backward':>12} {'memory':>8} {'oracle':>10} {'ratio':>8}")
    keys = torch.tensor([key("benchmark", i) for i in range(args.batch)], device=device)
    for transform in TRANSFORMS.values():
        params = transform.draw(keys, size)
        first = {k: v[: args.oracles] for k, v in params.items()}

        def forward(x: Tensor, transform: Transform = transform, params: Params = params) -> Tensor:
            return transform.unclipped(x, params)

        gradient = transform.gradient is not Gradient.NONE
        truth = partial(oracle, transform.name, images[: args.oracles], first)
        print(row(transform.name, forward, x, gradient, truth, args.oracles, args.repeats), flush=True)
    mirror = Mirror.of(keys, device)
    few = 4 * args.oracles
    for k in args.ks:
        barrage = Barrage(k)
        truth = partial(oracle_barrage, images[:few], barrage.draw(mirror.map(lambda side: side[:few]), size))

        def defended(x: Tensor, barrage: Barrage = barrage) -> Tensor:
            return barrage.apply(x, barrage.draw(mirror, size))

        print(row(f"barrage k = {k}", defended, x, True, truth, min(few, args.batch), args.repeats), flush=True)


if __name__ == "__main__":
    main()
