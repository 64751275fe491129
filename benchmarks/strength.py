"""Measure the accuracy behind the barrage after each attack, judged by the same fresh draws: python -m benchmarks.strength

alone    the undefended model, and each transform alone
peers    our default attack beside torchattacks, AutoAttack `rand` and ART at equal draw-gradients
budgets  growing budgets: plain PGD, our default (with momentum), the follow-up's AggMo with the margin loss

Figures are the expected accuracy of one draw, in percent, over images of `../shared/data/imagenet-val` that the undefended
EfficientNet-Lite0 gets right, with the 95 % interval over images. `peers` needs pip install 'barrage[peers]'.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bart import TRANSFORMS, Attack, Ball, Barrage, Defended, Goal, judge, lanes
from benchmarks.peers import EPS, PEERS
from benchmarks.setting import Behind, classifier, image_keys, network, photographs, right
from pipeline.config.attacks import AggMo, Pgd
from pipeline.scoring.intervals import Rate, rate

Settings = Callable[[int, int], Attack]
"""Returns the attack with a number of steps and of draws."""


def attack(settings: type[Pgd] | type[AggMo], steps: int, draws: int, **more: Any) -> Attack:
    """Return the attack of a campaign file that sets only these keys."""
    return settings(eps=EPS, steps=steps, eot_draws=draws, **more).build(random=True)


def default(steps: int, draws: int) -> Attack:
    return attack(Pgd, steps, draws)


def rivals(steps: int) -> dict[str, Settings]:
    """Return the attacks that are compared at growing budgets. AggMo's steps are longer if there are few, to cross the ball."""
    return {
        "PGD, ce": partial(attack, Pgd, momentum=0.0),
        "default: PGD, ce, momentum": default,
        "AggMo, margin": partial(attack, AggMo, kind="aggmo", step_size=max(0.005, 2.5 * EPS / steps)),
    }


class Bench:
    """Hold the images and the model. The same `judges` fresh draws judge the examples of every attack."""

    def __init__(self, images: int, judges: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.stack = 512 if self.device.type == "cuda" else 4
        self.model, self.judges = classifier(self.device), judges
        x, label, names = photographs(min(1000, 2 * images + 16), self.device)
        index = right(Defended(self.model, Barrage(0)), x, label).nonzero()[:images, 0]
        self.x, self.label, self.names = x[index], label[index], [names[i] for i in index.tolist()]

    @property
    def clean(self) -> Tensor:
        return (255 * self.x).round().to(torch.uint8)

    def left(self, barrage: Barrage, stored: Tensor) -> Rate:
        """Return the accuracy on stored examples (n, 3, h, w) uint8."""
        keys = image_keys(self.names, self.device, seed=1)
        verdict = judge(Defended(self.model, barrage), stored, keys, self.judges if barrage.k else 1, self.stack)
        found = rate((verdict.top5[:, :, 0] == self.label[:, None]).double().mean(1).cpu().numpy())
        assert found is not None
        return found

    def ours(self, barrage: Barrage, attack: Attack) -> Rate:
        defended = Defended(self.model, barrage)
        goal = Goal(self.label, torch.full_like(self.label, -1))
        state = attack.start(self.x, goal, image_keys(self.names, self.device))
        while not lanes.over(state, attack):
            state = lanes.step(attack, state, defended, self.stack, len(self.x))
        return self.left(barrage, attack.ball.store(attack.result(state), self.x))

    def peer(self, barrage: Barrage, function: Callable[..., Tensor], steps: int, draws: int) -> tuple[Rate, int]:
        """Return the accuracy after the attack of a peer, and the draw-gradients that it took."""
        module = Behind(network().to(self.device), barrage)
        found = function(module, self.x, self.label, steps, draws)
        return self.left(barrage, Ball("linf", EPS).store(found, self.x)), module.gradients


def alone(bench: Bench, steps: int, draws: int) -> Iterator[str]:
    yield f"undefended, and each transform alone: default attack, eps 8/255, {steps} steps x {draws} draws"
    for name in ("", *TRANSFORMS):
        barrage = Barrage(1, (name,)) if name else Barrage(0)
        left = bench.ours(barrage, default(steps, draws if name else 1))
        yield f"  {name or 'undefended':<18} clean {bench.left(barrage, bench.clean)}   attacked {left}"


def peers(bench: Bench, k: int, steps: int, draws: int) -> Iterator[str]:
    barrage, work = Barrage(k), len(bench.x) * steps * draws
    yield f"k = {k}, clean {bench.left(barrage, bench.clean)}: equal draw-gradients, {steps} steps x {draws} draws"
    yield f"  {'our default':<22} {bench.ours(barrage, default(steps, draws))}   {work:,} draw-gradients"
    for name, function in PEERS.items():
        turns = steps // 2 if name.startswith("AutoAttack") else steps  # it attacks twice
        left, spent = bench.peer(barrage, function, turns, draws)
        yield f"  {name:<22} {left}   {spent:,} draw-gradients"


def budgets(bench: Bench, k: int, steps: list[int], draws: int) -> Iterator[str]:
    yield f"k = {k}: growing budgets, {draws} draws a step"
    for count in steps:
        found = (f"{name} {bench.ours(Barrage(k), settings(count, draws))}" for name, settings in rivals(count).items())
        yield f"  {count:4} steps: " + "   ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="*", choices=["alone", "peers", "budgets", []], help="which tables to print; default: all"
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--judges", type=int, default=40, help="fresh draws of a verdict")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--ks", type=int, nargs="*", default=[5, 10])
    args = parser.parse_args()
    bench, what = Bench(args.images, args.judges), args.what or ["alone", "peers", "budgets"]
    name = torch.cuda.get_device_name() if bench.device.type == "cuda" else "CPU"
    print(f"{name}; {len(bench.x)} photographs, EfficientNet-Lite0, 224 px, judged by {args.judges} fresh draws", flush=True)
    tables = [alone(bench, args.steps, args.draws)] if "alone" in what else []
    for k in args.ks:
        tables += [peers(bench, k, args.steps, args.draws)] if "peers" in what else []
        growing = [args.steps // 2, args.steps, 2 * args.steps, 4 * args.steps]
        tables += [budgets(bench, k, growing, args.draws)] if "budgets" in what else []
    for table in tables:
        for line in table:
            print(line, flush=True)


if __name__ == "__main__":
    main()
