"""What attacks leave of ImageNet photographs behind the barrage, judged by the same fresh draws: python -m benchmarks.strength

Three tables: the undefended model and each transform alone; our default attack beside the peers' at equal draw-gradients; the
follow-up's AggMo with the margin loss beside plain PGD over growing budgets. Accuracy is that of one draw, expected, in
percent, of images that the undefended model gets right. Needs pip install 'barrage[peers]' for the second.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from bart import TRANSFORMS, AggMo, Attack, Ball, Barrage, Defended, Eot, Goal, Pgd, judge, lanes
from benchmarks.peers import EPS, PEERS
from benchmarks.setting import Behind, classifier, image_keys, network, photographs, right

JUDGES = 20
STACK = 4


def attacked(attack: Attack, defended: Defended, x: Tensor, goal: Goal, names: list[str]) -> Tensor:
    """The examples, as they are stored: (n, 3, h, w) uint8."""
    state = attack.start(x, goal, image_keys(names, x.device))
    while not lanes.over(state, attack):
        state = lanes.step(attack, state, defended, STACK if x.device.type == "cpu" else 512, len(x))
    return attack.ball.store(attack.result(state), x)


def accuracy(defended: Defended, stored: Tensor, label: Tensor, names: list[str]) -> float:
    """Of one draw, expected, in percent; the same fresh draws for whatever made the examples."""
    keys = image_keys(names, label.device, seed=1)
    verdict = judge(defended, stored, keys, JUDGES if defended.barrage.k else 1, STACK if label.device.type == "cpu" else 512)
    return 100 * float((verdict.top5[:, :, 0] == label[:, None]).float().mean())


def alone(args: argparse.Namespace, run: Callable[..., tuple[float, float]]) -> None:
    print(f"alone: PGD, eps 8/255, {args.steps} steps, {args.draws} draws")
    for name in ("", *TRANSFORMS):
        barrage = Barrage(1, (name,)) if name else Barrage(0)
        clean, left = run(barrage, default(args.steps, args.draws if name else 1))
        print(f"  {name or 'undefended':<18} clean {clean:5.1f}  attacked {left:5.1f}", flush=True)


def default(steps: int, draws: int) -> Pgd:
    """The attack of the demo and of campaign files that say nothing else: 40 steps of eps / 8."""
    return Pgd(Ball("linf", EPS), steps, max(EPS / 8, 2.5 * EPS / steps), True, Eot(draws))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--ks", type=int, nargs="*", default=[5, 10])
    parser.add_argument("--only", choices=["alone", "peers", "budgets"])
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = classifier(device)
    x, label, names = photographs(4 * args.images, device)
    index = right(Defended(model, Barrage(0)), x, label).nonzero()[: args.images, 0]
    x, label, names = x[index], label[index], [names[i] for i in index.tolist()]
    goal, clean = Goal(label, torch.full_like(label, -1)), (255 * x).round().to(torch.uint8)

    def run(barrage: Barrage, attack: Attack) -> tuple[float, float]:
        defended = Defended(model, barrage)
        examples = attacked(attack, defended, x, goal, names)
        return accuracy(defended, clean, label, names), accuracy(defended, examples, label, names)

    print(f"{len(x)} photographs, EfficientNet-Lite0, judged by {JUDGES} fresh draws")
    if args.only in (None, "alone"):
        alone(args, run)
    for k in args.ks:
        barrage = Barrage(k)
        defended = Defended(model, barrage)
        if args.only in (None, "peers"):
            print(f"k = {k}: equal draw-gradients, {args.steps} steps x {args.draws} draws")
            print(f"  {'ours':<22} {run(barrage, default(args.steps, args.draws))[1]:5.1f}", flush=True)
            for peer, function in PEERS.items():
                steps = args.steps // 2 if peer.startswith("AutoAttack") else args.steps  # it attacks twice
                module = Behind(network().to(device), barrage)
                found = function(module, x, label, steps, args.draws)
                stored = Ball("linf", EPS).store(found, x)
                print(
                    f"  {peer:<22} {accuracy(defended, stored, label, names):5.1f}   {module.gradients:,} draw-gradients",
                    flush=True,
                )
        if args.only in (None, "budgets"):
            print(f"k = {k}: growing budgets")
            for steps in (args.steps // 2, args.steps, 2 * args.steps):
                aggmo = AggMo(
                    Ball("linf", EPS),
                    steps,
                    max(EPS / 8, 2.5 * EPS / steps),
                    eot=Eot(args.draws, "margin", "mean_logits", fixed_order=True),
                )
                plain, strong = run(barrage, default(steps, args.draws))[1], run(barrage, aggmo)[1]
                print(f"  {steps:4} steps: PGD, cross-entropy {plain:5.1f}   AggMo, margin {strong:5.1f}", flush=True)


if __name__ == "__main__":
    main()
