"""Compare the draw-gradients a second of the attack with those of the bare model: python -m benchmarks.attack

The bare model is the same classifier in the same precision at its best batch: forward and input-backward, nothing else. Rounds
alternate between both, and the ratio is the median over rounds. On a CPU one process uses all threads. With OMP_NUM_THREADS=1
it uses one, as a campaign's worker does. The script also prints the share of a step that the attack's own arithmetic takes,
and the memory of a step beside that of an unfolded model with the draws in one graph.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from bart import Ball, Barrage, Break, Classifier, Defended, Eot, Goal, Pgd, lanes
from bart.gradient import gradient
from benchmarks.setting import MODELS, SIDE, Behind, classifier, image_keys, network, photographs
from benchmarks.transforms import measured, synchronize


def rate(function: Callable[[], object], draws: int, device: torch.device, least: float) -> float:
    """Return the draws a second, measured over at least `least` seconds."""
    synchronize(device)
    start, rounds = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        function()
        synchronize(device)
        rounds += 1
    return draws * rounds / (time.perf_counter() - start)


def bare(model: Callable[[Tensor], Tensor], batch: int, device: torch.device) -> Callable[[], object]:
    """Return a function that runs one forward and input-backward pass of a classifier."""
    x = torch.rand(batch, 3, SIDE, SIDE, device=device)

    def once() -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(model(leaf).logsumexp(1).sum(), leaf)[0]

    return once


def best_batch(model: Callable[[Tensor], Tensor], device: torch.device, largest: int, seconds: float) -> int:
    """Return the batch size with the most images a second, a power of two up to `largest`."""
    rates, batch = {}, 1
    while batch <= largest:
        bare(model, batch, device)()
        rates[batch] = rate(bare(model, batch, device), batch, device, seconds / 2)
        batch *= 2
    return max(rates, key=rates.__getitem__)


def busy(defended: Defended, x: Tensor, label: Tensor, names: list[str], stack: int, width: int) -> float:
    """Return the share of lanes at work in first-break mode, in [0, 1], from the start until the queue is empty."""
    goal = Goal(label, torch.full_like(label, -1))
    attack = Pgd(Ball("linf", 8 / 255), 12, 2 / 255, True, Eot(2))
    state = attack.start(x, goal, image_keys(names, x.device))
    worked = steps = 0
    while not lanes.over(state, attack):
        waiting = int(((state.step.host == 0) & (state.left.host < 0)).sum()) > width
        after = lanes.step(attack, state, defended, stack, width, Break(3))
        if waiting:
            worked, steps = worked + int((after.step.host - state.step.host).sum()), steps + 1
        state = after
    return worked / max(1, steps * width)


def compared(defended: Defended, x: Tensor, goal: Goal, names: list[str], args: argparse.Namespace, batch: int) -> None:
    """Print one line: the attack's draw-gradients a second over the bare model's, in alternating rounds."""
    eot, device = Eot(args.draws), x.device
    attack = Pgd(Ball("linf", 8 / 255), 10, 2 / 255, True, eot)
    state = attack.start(x, goal, image_keys(names, device))
    stack = batch if device.type == "cpu" else len(x) * args.draws

    def step() -> object:
        return attack.step(state, defended, stack)

    step()
    ratios, ours = [], []
    for _ in range(args.rounds):
        plain = rate(bare(defended.classifier.fast, batch, device), batch, device, args.seconds)
        ours.append(rate(step, len(x) * args.draws, device, args.seconds))
        ratios.append(ours[-1] / plain)
    what = f"k = {defended.defense.cost}" if defended.defense.random else "identity"
    print(f"{what:<10} {statistics.median(ours):8.1f} draw-gradients/s, {statistics.median(ratios):.2f} of the bare model "
          f"({', '.join(f'{r:.2f}' for r in ratios)})", flush=True)  # fmt: skip
    if not defended.defense.random:
        whole = measured(step, device, args.rounds)[0]
        ascent = torch.randn_like(x)
        own = measured(lambda: state.advanced(attack.ball.step(state.x, ascent, 0.01, x), ascent), device, 5)[0]
        print(f"{'':<10} the attack's own arithmetic: {100 * own / whole:.1f} % of a step of {1e3 * whole:.0f} ms")


def memory(model: Classifier, x: Tensor, goal: Goal, names: list[str], args: argparse.Namespace, stack: int) -> None:
    """Print one line: peak memory of a gradient, beside an unfolded model's with all draws in one graph."""
    draws = args.draws
    unfolded = Behind(network(args.model).to(x.device), Barrage(0))

    def one_graph() -> Tensor:
        leaf = x.detach().requires_grad_()
        losses = [torch.nn.functional.cross_entropy(unfolded(leaf), goal.label, reduction="sum") for _ in range(draws)]
        return torch.autograd.grad(torch.stack(losses).mean(), leaf)[0]

    defended, keys = Defended(model, Barrage(0)), image_keys(names, x.device)
    theirs = measured(one_graph, x.device, 1)[1]
    ours = measured(lambda: gradient(defended, x, goal, keys, Eot(draws), stack), x.device, 1)[1]
    print(f"memory     {ours:.2f} GB, an unfolded model with all draws in one graph {theirs:.2f} GB: {ours / theirs:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest", type=int, default=16, help="batch of the bare model")
    parser.add_argument("--seconds", type=float, default=2.0, help="the least time over which a rate is measured")
    parser.add_argument("--lanes", type=int, default=10, help="images of the queue that the lanes work off; 0 leaves it out")
    parser.add_argument("--model", choices=MODELS, default="lite0")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    model = classifier(device, args.model)
    x, label, names = photographs(args.images, device, args.model)
    goal = Goal(label, torch.full_like(label, -1))
    batch = best_batch(model.fast, device, args.largest, args.seconds)
    print(f"{name}; {args.model}, {SIDE} px, {args.images} images x {args.draws} draws; best batch of the bare model: {batch}")
    for k in (0, 5, 10):
        compared(Defended(model, Barrage(k)), x, goal, names, args, batch)
    memory(model, x, goal, names, args, batch)
    if args.lanes:
        share = busy(Defended(model, Barrage(0)), *photographs(args.lanes, device, args.model), 8, 3)
        print(f"lanes      {100 * share:.1f} % at work until the queue is empty")


if __name__ == "__main__":
    main()
