"""Compare PGD with EOT and torchattacks, ART and AutoAttack `rand` at equal settings: python -m benchmarks.peers

Model, images, steps and draws are the same. The peers attack EfficientNet-Lite0 behind our barrage as a plain module that draws
afresh at every call, with their own defaults. AutoAttack is torchattacks' copy: APGD-CE and APGD-DLR with EOT, so twice the
steps. Rates are draw-gradients a second, counted at the module. The ratio is ours over theirs, the median over alternating
rounds. Needs pip install 'barrage[peers]'.

On a CPU our attack runs in two ways. The first is that of a campaign: one worker of one thread for each thread of this process,
with the images shared out among them, so the same work keeps the same cores busy. The second is one process with all threads,
as the peers run. Timing starts after every worker has run the attack once.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

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
    """Run torchattacks' AutoAttack, version "rand": APGD-CE, then APGD-DLR on images that are still right, each with EOT."""
    import torchattacks
    from torchattacks.wrappers.multiattack import MultiAttack

    common = {"eps": EPS, "norm": "Linf", "steps": steps, "eot_iter": draws, "n_restarts": 1, "seed": 0, "verbose": False}
    attack = MultiAttack([torchattacks.APGD(model, loss=loss, **common) for loss in ("ce", "dlr")])
    return attack(x, label)


def art_pgd(model: Behind, x: Tensor, label: Tensor, steps: int, draws: int) -> Tensor:
    """Run ART's PGD on PyTorch with its EoT wrapper, which copies each image once a draw."""
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


def our_attack(args: argparse.Namespace, device: torch.device, share: slice = slice(None)) -> Callable[[], None]:
    """Return a function that runs the whole attack on a share of the images. It has run once."""
    x, label, names = photographs(args.images, device, args.model)
    x, label, names = x[share], label[share], names[share]
    model = classifier(device, args.model)
    if args.model != "lite0":  # without weights nothing is right
        with torch.no_grad():
            label = model(x).argmax(1)
    defended = Defended(model, Barrage(args.k))
    attack = Pgd(Ball("linf", EPS), args.steps, STEP, True, Eot(args.draws))
    stack = 4 if device.type == "cpu" else 512

    def run() -> None:
        state = attack.start(x, Goal(label, torch.full_like(label, -1)), image_keys(names, device))
        while not lanes.over(state, attack):
            state = lanes.step(attack, state, defended, stack, len(x))

    run()
    return run


def work(orders: Connection, args: argparse.Namespace, share: slice) -> None:
    """Work in one thread: attack a share of the images at each order, until the order is False."""
    torch.set_num_threads(1)
    run = our_attack(args, torch.device("cpu"), share)
    orders.send("ready")
    while orders.recv():
        run()
        orders.send("done")


@contextmanager
def workers(args: argparse.Namespace, count: int) -> Iterator[Callable[[], None]]:
    """Yield a function that runs the attack in `count` processes at once. Each process has run it once."""
    context = get_context("spawn")
    ends = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=work, args=(theirs, args, slice(i, None, count)), daemon=True)
        for i, (_, theirs) in enumerate(ends)
    ]
    for process in processes:
        process.start()

    def send(order: bool) -> None:
        for mine, _ in ends:
            mine.send(order)

    def wait() -> None:
        for mine, _ in ends:
            mine.recv()

    def run() -> None:
        send(True)
        wait()

    wait()
    yield run
    send(False)
    for process in processes:
        process.join()


def compared(ways: dict[str, Callable[[], None]], args: argparse.Namespace, device: torch.device) -> None:
    """Print a line for each peer and each way to run our attack: rates, and the ratio of each round."""
    x, label, _ = photographs(args.images, device, args.model)
    if args.model != "lite0":  # without weights nothing is right, and AutoAttack skips images that are wrong
        with torch.no_grad():
            label = classifier(device, args.model)(x).argmax(1)
    model, total = Behind(network(args.model).to(device), Barrage(args.k)), args.images * args.steps * args.draws
    for peer, run in PEERS.items():
        run(model, x, label, 1, 1)
        theirs: list[float] = []
        ours: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.rounds):
            for way, attack in ways.items():
                ours[way].append(total / timed(attack, device))
            model.gradients = 0
            seconds = timed(partial(run, model, x, label, args.steps, args.draws), device)
            theirs.append(model.gradients / seconds)
        print(f"{peer:<22} {statistics.median(theirs):7.1f} draw-gradients/s")
        for way, rates in ours.items():
            ratios = [mine / other for mine, other in zip(rates, theirs, strict=True)]
            print(f"  {'ours, ' + way:<20} {statistics.median(rates):7.1f}: {statistics.median(ratios):.2f} times "
                  f"({', '.join(f'{r:.2f}' for r in ratios)})", flush=True)  # fmt: skip


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
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {threads} threads"
    what = f"{args.model}, {SIDE} px, k = {args.k}; {args.images} images, {args.steps} steps, {args.draws} draws"
    print(f"{name}; {what}")
    alone = {"one process": our_attack(args, device)}
    if device.type == "cuda" or threads == 1:
        compared(alone, args, device)
        return
    if args.images % threads:
        raise SystemExit(f"--images {args.images}: expected a multiple of the {threads} workers, so that none waits")
    with workers(args, threads) as crew:
        compared({f"{threads} workers": crew, **alone}, args, device)


if __name__ == "__main__":
    main()
