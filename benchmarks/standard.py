"""Hold the standard attack against others at equal draw-gradients: python -m benchmarks.standard [--data imagenet]

rivals         behind k transforms, at each budget: our former default, AggMo, APGD, the plain article's PGD, and the libraries
               torchattacks (EOTPGD), AutoAttack (rand) and ART, where they are installed
ablations      the standard attack with one thing changed
deterministic  without randomness, on an adversarially trained network: AutoAttack's standard version, at its own cost

Each line has the accuracy that an attack leaves, in percent of single draws, and how much more that is than what the standard
attack leaves: the paired 95 % interval over images (docs/intervals.md), on how many images it leaves less and more, and the
sign test of these two numbers. All examples of a defense are judged by the same fresh draws. Images are those that the
undefended model gets right, from `--first` on.

A line takes minutes or hours. `--keep FOLDER` keeps what is done, and goes on from there after a restart.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bart import Attack, Ball, Barrage, Classifier, Defended, Goal, Standard, judge, lanes
from benchmarks.ablations import variants
from benchmarks.peers import EPS, PEERS
from benchmarks.setting import Behind, cifar, classifier, image_keys, network, photographs, right
from pipeline.analysis.comparison.paired import of_shares
from pipeline.config import attacks

BALL = Ball("linf", EPS)
Share = np.ndarray[tuple[int], np.dtype[np.float64]]
"""Share of right draws of each image, (n,)."""


class Bench:
    """Hold images that the undefended model gets right, and the model.

    data  imagenet (EfficientNet-Lite0), cifar (the ResNet20 trained for BaRT) or adversarial (that of adversarial training)
    """

    def __init__(self, data: str, first: int, images: int, judges: int, keep: Path | None) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.data, self.first, self.judges, self.keep = data, first, judges, keep
        self.network: nn.Module
        self.model: Classifier
        if data == "imagenet":
            self.stack, wanted = (512 if self.device.type == "cuda" else 4), 2 * (first + images) + 16
            self.network, self.model = network().to(self.device), classifier(self.device)
            x, label, names = photographs(min(1000, wanted), self.device)
        else:
            self.stack, wanted = 128, 2 * (first + images) + 50
            self.model, x, label, names = cifar(wanted, "bart" if data == "cifar" else data, self.device)
            self.network = self.model
        index = right(Defended(self.model, Barrage(0)), x, label).nonzero()[first : first + images, 0]
        self.x, self.label, self.names = x[index], label[index], [names[i] for i in index.tolist()]

    def ours(self, k: int, attack: Attack) -> Share:
        """Return what one of our attacks leaves behind `k` transforms."""

        def examples() -> Tensor:
            defended = Defended(self.model, Barrage(k))
            goal = Goal(self.label, torch.full_like(self.label, -1))
            state = attack.start(self.x, goal, image_keys(self.names, self.device))
            while not lanes.over(state, attack):
                state = lanes.step(attack, state, defended, self.stack, len(self.x))
            return attack.ball.store(attack.result(state), self.x)

        return self._kept((k, repr(attack)), k, examples)

    def theirs(self, k: int, name: str, function: Callable[..., Tensor], *settings: int) -> Share:
        """Return what a library's attack leaves behind `k` transforms."""

        def examples() -> Tensor:
            return BALL.store(function(Behind(self.network, Barrage(k)), self.x, self.label, *settings), self.x)

        return self._kept((k, name, settings), k, examples)

    def _kept(self, what: Any, k: int, examples: Callable[[], Tensor]) -> Share:
        """Return the shares from the folder of results, or attack and judge, and keep them."""
        text = repr((self.data, self.first, len(self.x), self.judges, what))
        path = self.keep / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json" if self.keep else None
        if path and path.exists():
            return np.array(json.loads(path.read_text())["right"])
        keys, draws = image_keys(self.names, self.device, 1), self.judges if k else 1
        verdict = judge(Defended(self.model, Barrage(k)), examples(), keys, draws, self.stack)
        found: Share = (verdict.top5[:, :, 0] == self.label[:, None]).double().mean(1).cpu().numpy()
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"what": text, "right": found.tolist()}))
        return found


def standard(budget: int, random: bool = True) -> Attack:
    """Return the standard attack of a campaign file that names a budget and nothing else."""
    return attacks.Standard(eps=EPS, budget=budget).build(random)


def ours(budget: int) -> dict[str, Attack]:
    """Return our other attacks at a budget, each with the draws that it has in campaign files, and APGD also with one draw."""
    steps, five = max(1, budget // 10), max(1, budget // 5)
    apgd = partial(attacks.Apgd, kind="apgd", eps=EPS)
    return {
        "PGD with momentum": attacks.Pgd(eps=EPS, steps=steps, eot_draws=10).build(True),
        "PGD, plain": attacks.Pgd(eps=EPS, steps=steps, eot_draws=10, momentum=0.0).build(True),
        "AggMo, margin": attacks.AggMo(
            kind="aggmo", eps=EPS, steps=five, eot_draws=5, step_size=max(0.005, 2.5 * EPS / five)
        ).build(True),
        "APGD, ce": apgd(steps=steps, eot_draws=10).build(True),
        "APGD, ce, 1 draw a step": apgd(steps=budget, eot_draws=1).build(True),
        "APGD, dlr": apgd(steps=steps, eot_draws=10, loss="dlr").build(True),
    }


def installed() -> dict[str, Callable[..., Tensor]]:
    """Return the peers whose libraries are installed."""
    found = {}
    for name, function in PEERS.items():
        try:
            __import__("art" if name.startswith("ART") else "torchattacks")
        except ImportError:
            print(f"not installed, so left out: {name} (pip install 'barrage[peers]')")
        else:
            found[name] = function
    return found


def line(name: str, left: Share, base: Share | None = None) -> str:
    """Return a line: what is left, and the paired comparison with the base."""
    text = f"  {name:<36} {100 * left.mean():5.1f}"
    found = None if base is None else of_shares(left, base)
    if found is None:
        return text
    less, more = found.second_only, found.first_only
    return f"{text}   {found.interval:<22} {less:3} images less, {more:3} more, p = {found.p_value:.2g}"


def rivals(bench: Bench, k: int, budget: int) -> Iterator[str]:
    yield f"{bench.data}, k = {k}, {budget} draw-gradients an image"
    base = bench.ours(k, standard(budget))
    yield line("standard", base)
    for name, attack in ours(budget).items():
        yield line(name, bench.ours(k, attack), base)
    for name, function in installed().items():
        steps = max(1, budget // 10) // (2 if name.startswith("AutoAttack") else 1)  # it attacks twice
        yield line(name, bench.theirs(k, name, function, max(1, steps), 10), base)


def ablations(bench: Bench, k: int, budget: int) -> Iterator[str]:
    yield f"{bench.data}, k = {k}, {budget} draw-gradients an image: one thing changed"
    whole = standard(budget)
    assert isinstance(whole, Standard)
    base = bench.ours(k, whole)
    yield line("standard", base)
    for name, attack in variants(BALL, budget, whole).items():
        yield line(name, bench.ours(k, attack), base)


def deterministic(bench: Bench, budget: int) -> Iterator[str]:
    yield f"{bench.data}, no randomness, {budget} gradients an image"
    base = bench.ours(0, standard(budget, random=False))
    yield line("standard", base)
    yield line("PGD with momentum", bench.ours(0, attacks.Pgd(eps=EPS, steps=budget).build(False)), base)
    for loss in ("ce", "dlr"):
        yield line(
            f"APGD, {loss}", bench.ours(0, attacks.Apgd(kind="apgd", eps=EPS, steps=budget, loss=loss).build(False)), base
        )
    if installed():
        yield line("AutoAttack, standard", bench.theirs(0, "standard", autoattack), base)


def autoattack(model: Behind, x: Tensor, label: Tensor) -> Tensor:
    """Run torchattacks' AutoAttack, version "standard", and print the passes that it took."""
    import torchattacks

    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    found = torchattacks.AutoAttack(model, norm="Linf", eps=EPS, version="standard", n_classes=classes, seed=0)(x, label)
    print(f"  AutoAttack took {model.gradients / len(x):.0f} gradients an image, and forward passes besides", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["rivals"], choices=["rivals", "ablations", "deterministic"])
    parser.add_argument("--data", choices=["cifar", "imagenet"], default="cifar")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="right images to pass over")
    parser.add_argument("--judges", type=int, default=40, help="fresh draws of a verdict")
    parser.add_argument("--budgets", type=int, nargs="+", default=[50, 200, 800])
    parser.add_argument("--ks", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--keep", type=Path, help="folder of what is done")
    args = parser.parse_args()
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU")
    settings = (args.first, args.images, args.judges, args.keep)
    bench = Bench(args.data, *settings)
    print(f"{len(bench.x)} images, judged by {args.judges} fresh draws", flush=True)
    for budget in args.budgets:
        tables = [rivals(bench, k, budget) for k in args.ks] if "rivals" in args.what else []
        tables += [ablations(bench, k, budget) for k in args.ks] if "ablations" in args.what else []
        tables += [deterministic(Bench("adversarial", *settings), budget)] if "deterministic" in args.what else []
        for table in tables:
            for text in table:
                print(text, flush=True)


if __name__ == "__main__":
    main()
