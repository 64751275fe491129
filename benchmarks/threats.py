"""Compare the attacks in L1 and L0 with those of adv-lib, on a network without a defense: python -m benchmarks.threats

Two ResNet20s of `campaigns/weights` and CIFAR-10 images that they get right, equal gradients an image, examples of 8 bits for
both. L1: Auto-PGD, both with cross-entropy and three shrinking balls. L0: sigma-zero. For each radius, what is left in percent,
and ours / theirs: of what is left, of the median number of changed values (L0), and of the seconds. Needs pip install adv-lib.
With --draws, the same attacks of ours, and dual averaging, behind five transforms, judged by 20 fresh draws.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from bart import ApgdL1, Attack, Ball, Barrage, Classifier, Defended, DualAveraging, Eot, Goal, SigmaZero, judge, lanes
from benchmarks.setting import image_keys, right
from pipeline.config.campaign import Data
from pipeline.config.model import Model
from pipeline.data import shards
from pipeline.models import loading

SHARD = "../shared/data/cifar10/cifar10-test-000000.tar"
STACK, JUDGES = 64, 20
L1, L0 = {"plain": (2, 4), "adversarial": (6, 12)}, {"plain": (5, 15), "adversarial": (20, 40)}
"""Radii by network."""


def network(weights: str) -> Classifier:
    """Return one of the small networks."""
    path = f"campaigns/weights/cifar10-{weights}.safetensors"
    model = Model(architecture="resnet20_cifar", classes=10, weights=path)
    return loading.classifier(loading.described(model, Data(shards=[SHARD], resize=None, crop=32)), 32, torch.device("cpu"))


def photographs(model: Classifier, count: int) -> tuple[Tensor, Tensor]:
    """Return images (count, 3, 32, 32) that the network gets right, and their labels."""
    samples = shards.read(shards.inspect(SHARD), range(2 * count))
    x = torch.stack([torch.from_numpy(shards.decode(sample.image, None, 32)) for sample in samples]).float() / 255
    label = torch.tensor([sample.label for sample in samples])
    fit = right(Defended(model, Barrage(0)), x, label, STACK)
    return x[fit][:count], label[fit][:count]


def attacked(attack: Attack, defended: Defended, x: Tensor, label: Tensor) -> Tensor:
    """Return our examples as they are stored, (n, 3, 32, 32) uint8."""
    keys = image_keys([str(i) for i in range(len(x))], x.device)
    state = attack.start(x, Goal(label, torch.full_like(label, -1)), keys)
    while not lanes.over(state, attack):
        state = lanes.step(attack, state, defended, STACK, len(x))
    return attack.ball.store(attack.result(state), x)


def timed(function: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def left(model: Classifier, stored: Tensor, x: Tensor, label: Tensor, ball: Ball) -> Tensor:
    """Return which examples are right, or outside the ball, (n,) bool."""
    with torch.no_grad():
        is_right = model(stored.float() / 255).argmax(1) == label
    return is_right | (ball.distance(stored, x) > ball.eps + 1e-4)


def l1(model: Classifier, x: Tensor, label: Tensor, eps: float, steps: int) -> str:
    """Return a line on Auto-PGD in one L1 ball."""
    from adv_lib.attacks.auto_pgd import apgd

    ball = Ball("l1", eps)
    mine = ApgdL1(ball, steps, True, Eot(1))
    ours, seconds = timed(lambda: attacked(mine, Defended(model, Barrage(0)), x, label))
    theirs, others = timed(
        lambda: apgd(model, x, label, eps=eps, norm=1, n_iter=steps, loss_function="ce", use_large_reps=True)
    )
    mine_left, other_left = (left(model, stored, x, label, ball) for stored in (ours, ball.store(theirs, x)))
    compared = f"{_percent(mine_left)}, adv-lib {_percent(other_left)}; ours / adv-lib: left {_ratio(mine_left, other_left)}"
    return f"l1 eps {eps:>2}: left {compared}, seconds {seconds / others:.2f}"


def l0(model: Classifier, x: Tensor, label: Tensor, radii: tuple[int, ...], steps: int) -> str:
    """Return lines on sigma-zero: one run of each, which does not know a radius, judged in several balls."""
    from adv_lib.attacks import sigma_zero

    whole = Ball("l0", x[0].numel())
    mine = SigmaZero(whole, steps, Eot(1, "hinge"))
    ours, seconds = timed(lambda: attacked(mine, Defended(model, Barrage(0)), x, label))
    theirs, others = timed(lambda: sigma_zero(model, x, label, num_steps=steps))
    both, lines = (ours, whole.store(theirs, x)), []
    for eps in radii:
        mine_left, other_left = (left(model, stored, x, label, Ball("l0", eps)) for stored in both)
        compared = (
            f"{_percent(mine_left)}, adv-lib {_percent(other_left)}; ours / adv-lib: left {_ratio(mine_left, other_left)}"
        )
        lines.append(f"l0 eps {eps:>2}: left {compared}")
    changes, other_changes = (whole.distance(stored, x).median().item() for stored in both)
    lines.append(f"l0: median of changed values {changes:.0f}, adv-lib {other_changes:.0f}; ours / adv-lib: "
                 f"changed values {changes / other_changes:.2f}, seconds {seconds / others:.2f}")  # fmt: skip
    return "\n".join(lines)


def behind(draws: int, count: int, steps: int) -> None:
    """Print what our attacks leave behind five transforms."""
    model = network("bart")
    x, label = photographs(model, count)
    defended = Defended(model, Barrage(5))
    averaging = Eot(draws, "log_odds", unit=True)
    for attack in (
        ApgdL1(Ball("l1", 8), steps, True, Eot(draws)), DualAveraging(Ball("l1", 8), steps, True, averaging),
        SigmaZero(Ball("l0", 20), steps, Eot(draws, "hinge")), DualAveraging(Ball("l0", 20), steps, True, averaging),
    ):  # fmt: skip
        stored = attacked(attack, defended, x, label)
        found = judge(defended, stored, image_keys([str(i) for i in range(count)], "cpu"), JUDGES, STACK)
        share = (found.top5[:, :, 0] == label[:, None]).float()
        print(f"k = 5, {attack.ball.norm} eps {attack.ball.eps:g}, {steps} steps x {draws} draws: "
              f"{type(attack).__name__} leaves {_percent(share)}", flush=True)  # fmt: skip


def _percent(values: Tensor) -> str:
    return f"{100 * values.float().mean():.0f} %"


def _ratio(ours: Tensor, theirs: Tensor) -> str:
    mine, other = ours.float().mean().item(), theirs.float().mean().item()
    return f"{mine / other:.2f}" if other else f"{mine:.2f} / 0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument(
        "--draws", type=int, default=0, help="measure behind five transforms instead, by this many draws a step"
    )
    args = parser.parse_args()
    if args.draws:
        behind(args.draws, args.images, args.steps)
        return
    for weights in L1:
        torch.manual_seed(0)
        model = network(weights)
        x, label = photographs(model, args.images)
        print(f"cifar10-{weights}: {len(x)} images, {args.steps} gradients", flush=True)
        for eps in L1[weights]:
            print(f"  {l1(model, x, label, eps, args.steps)}", flush=True)
        print(f"  {l0(model, x, label, L0[weights], args.steps)}".replace("\n", "\n  "), flush=True)


if __name__ == "__main__":
    main()
