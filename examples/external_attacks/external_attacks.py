"""Attacks of six libraries for campaigns of barrage: each function is one `kind: external` attack.

A function gets a `bart.FreshDraws` module, images (n, 3, h, w) in [0, 1] and labels (n,), and returns examples. `model.ball` is
the ball of the campaign's attack: its `norm` and `eps`. A library is imported when its function runs. `draws` repeats each
gradient over fresh draws where the library can do that; where it cannot, `eot_draws` of the campaign file averages the logits.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bart import FreshDraws


def torchattacks(model: FreshDraws, x: Tensor, y: Tensor, attack: str = "EOTPGD", **settings: Any) -> Tensor:
    """Run an attack of torchattacks by its name, such as PGD, APGD or EOTPGD, with its own settings."""
    import torchattacks as library

    if attack == "EOTPGD":
        settings = {"eot_iter": 10, "alpha": model.ball.eps / 4, **settings}
    return getattr(library, attack)(model, eps=model.ball.eps, **settings)(x, y)


def art(model: FreshDraws, x: Tensor, y: Tensor, steps: int = 10) -> Tensor:
    """Run projected gradient descent of the Adversarial Robustness Toolbox; its arrays are NumPy's."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classes = model(x[:1]).shape[1]
    kind = "gpu" if x.is_cuda else "cpu"
    classifier = PyTorchClassifier(
        model, torch.nn.CrossEntropyLoss(), tuple(x.shape[1:]), classes, clip_values=(0, 1), device_type=kind
    )
    order = {"linf": np.inf, "l2": 2}[model.ball.norm]
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        order,
        model.ball.eps,
        model.ball.eps / 4,
        max_iter=steps,
        num_random_init=1,
        batch_size=len(x),
        verbose=False,
    )
    return torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy()))


def autoattack(model: FreshDraws, x: Tensor, y: Tensor, steps: int = 100, draws: int = 20) -> Tensor:
    """Run Auto-PGD on cross-entropy and on the ratio of margins, as the version `rand` of AutoAttack does."""
    try:
        from autoattack.autopgd_base import APGDAttack
    except ImportError:
        from pyautoattack.autopgd_base import APGDAttack
    norm = {"linf": "Linf", "l2": "L2"}[model.ball.norm]
    best, seed = x, torch.initial_seed() % 2**31  # without a seed it takes the time
    for loss in ("ce", "dlr"):
        attack = APGDAttack(
            model,
            n_iter=steps,
            norm=norm,
            n_restarts=1,
            eps=model.ball.eps,
            seed=seed,
            loss=loss,
            eot_iter=draws,
            device=x.device,
        )
        found = attack.perturb(x, y, best_loss=True)  # else it returns the image itself where its own draws were right
        won = model(found).argmax(1) != y
        best = torch.where(won.view(-1, 1, 1, 1), found, best)
    return best


def adv_lib(model: FreshDraws, x: Tensor, y: Tensor, draws: int = 1) -> Tensor:
    """Run Auto-PGD of adv-lib: 100 steps, which `best_loss` takes whatever `n_iter` says (0.2.8)."""
    from adv_lib.attacks import apgd

    norm = {"linf": math.inf, "l2": 2}[model.ball.norm]
    return apgd(model, x, y, model.ball.eps, norm, loss_function="ce", eot_iter=draws, best_loss=True)


def secml_torch(model: FreshDraws, x: Tensor, y: Tensor, steps: int = 10) -> Tensor:
    """Run projected gradient descent of SecML-Torch, in its own implementation."""
    from secmlt.adv.evasion.pgd import PGD
    from secmlt.models.pytorch.base_pytorch_nn import BasePyTorchClassifier
    from torch.utils.data import DataLoader, TensorDataset

    attack = PGD(model.ball.norm, model.ball.eps, steps, model.ball.eps / 4, random_start=True, backend="native")
    batches = attack(BasePyTorchClassifier(model), DataLoader(TensorDataset(x, y), batch_size=len(x)))
    return torch.cat([examples for examples, _ in batches])


def foolbox(model: FreshDraws, x: Tensor, y: Tensor, steps: int = 10) -> Tensor:
    """Run projected gradient descent of foolbox."""
    import foolbox as library

    wrapped = library.PyTorchModel(model, bounds=(0, 1), device=x.device)
    kinds = {"linf": library.attacks.LinfPGD, "l2": library.attacks.L2PGD}
    raw, _, _ = kinds[model.ball.norm](rel_stepsize=1 / 4, steps=steps)(wrapped, x, y, epsilons=model.ball.eps)
    return raw
