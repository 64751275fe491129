"""PGD with EOT beside torchattacks, ART and AutoAttack `rand`, same model, images, steps and draws: python -m benchmarks.peers

The peers attack EfficientNet-Lite0 behind our barrage as a plain module that draws afresh at every call, the way that they ship
(AutoAttack is torchattacks' copy: APGD-CE and APGD-DLR with EOT, so twice the steps). Rates are draw-gradients a second,
counted at the module; the ratio is ours over theirs, the median over alternating rounds. Needs pip install 'barrage[peers]'.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from bart import Ball, Barrage, Defended, Eot, Goal, Pgd, lanes
from benchmarks.setting import MODELS, SIDE, Behind, classifier, image_keys, network, photographs
from benchmarks.transforms import synchronize

EPS, STEP = 8 / 255, 2 / 255


def torchattacks_eotpgd(model: Behind, x: Tensor, label: Tensor, steps: int, draws: int) -> Tensor:
    import torchattacks

    attack = torchattacks.EOTPGD(model, eps=EPS, alpha=STEP, steps=steps, eot_iter=draws)
    return attack(x, label)


def autoattack_rand(model: Behind, x: Tensor, label: Tensor, steps: int, draws: int) -> Tensor:
    """torchattacks' AutoAttack, version "rand": APGD-CE, then APGD-DLR on what is left, each with EOT."""
    import torchattacks
    from torchattacks.wrappers.multiattack import MultiAttack

    common = {"eps": EPS, "norm": "Linf", "steps": steps, "eot_iter": draws, "n_restarts": 1, "seed": 0, "verbose": False}
    attack = MultiAttack([torchattacks.APGD(model, loss=loss, **common) for loss in ("ce", "dlr")])
    return attack(x, label)


def art_pgd(model: Behind, x: Tensor, label: Tensor, steps: int, draws: int) -> Tensor:
    """ART's PGD on PyTorch with its EoT wrapper, which copies each image once a draw."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier
    from art.preprocessing.expectation_over_transformation.pytorch import EoTPyTorch

    class Copies(EoTPyTorch):
        def _transform(self, x: Tensor, y: Tensor | None, **names: object) -> tuple[Tensor, Tensor | None]:
            return x, y

    with torch.no_grad():
        classes = model.model(x[:1]).shape[1]
    wrapped = PyTorchClassifier(
        model,
        nn.CrossEntropyLoss(),
        (3, *x.shape[-2:]),
        classes,
        clip_values=(0.0, 1.0),
        preprocessing_defences=[Copies(draws, (0.0, 1.0))],
        device_type="gpu" if x.is_cuda else "cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        wrapped, norm=np.inf, eps=EPS, eps_step=STEP, max_iter=steps, num_random_init=1, batch_size=len(x), verbose=False
    )
    targets = np.eye(classes, dtype=np.float32)[label.cpu().numpy()]
    return torch.from_numpy(attack.generate(x.cpu().numpy(), targets)).to(x.device)


PEERS: dict[str, Callable[..., Tensor]] = {
    "torchattacks EOTPGD": torchattacks_eotpgd, "AutoAttack rand": autoattack_rand, "ART PGD + EoT": art_pgd
}  # fmt: skip


def timed(function: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", choices=MODELS, default="lite0")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    x, label, names = photographs(args.images, device, args.model)
    what = f"{args.model}, {SIDE} px, k = {args.k}; {args.images} images, {args.steps} steps, {args.draws} draws"
    print(f"{name}; {what}")
    if args.model != "lite0":  # without weights nothing is right, and AutoAttack leaves what is wrong alone
        with torch.no_grad():
            label = classifier(device, args.model)(x).argmax(1)
    defended, peer_model = (
        Defended(classifier(device, args.model), Barrage(args.k)),
        Behind(network(args.model).to(device), Barrage(args.k)),
    )
    attack = Pgd(Ball("linf", EPS), args.steps, STEP, True, Eot(args.draws))
    stack = 4 if device.type == "cpu" else 512

    def ours() -> None:
        state = attack.start(x, Goal(label, torch.full_like(label, -1)), image_keys(names, device))
        while not lanes.over(state, attack):
            state = lanes.step(attack, state, defended, stack, len(x))

    ours()
    work = args.images * args.steps * args.draws
    for peer, run in PEERS.items():
        run(peer_model, x, label, 1, 1)
        ratios = []
        for _ in range(args.rounds):
            mine = work / timed(ours, device)
            peer_model.gradients = 0
            seconds = timed(lambda run=run: run(peer_model, x, label, args.steps, args.draws), device)
            theirs = peer_model.gradients / seconds
            ratios.append(mine / theirs)
        print(f"{peer:<22} {theirs:7.1f} draw-gradients/s, ours {mine:7.1f}: {statistics.median(ratios):.2f} times "
              f"({', '.join(f'{r:.2f}' for r in ratios)})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
