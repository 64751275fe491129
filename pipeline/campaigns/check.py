"""Is the attack strong enough? The checks of an honest evaluation, as a campaign of its own on a sample of the images.

Each check is some variants of one cell and a judgement of their accuracies. The variants are cells like any other: they run on
the same workers, resume, and are kept in `check/` beside the results.
"""

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import torch

from bart import Goal
from bart.diagnostics.gradient_report import gradient_report
from pipeline.campaigns.job import Job
from pipeline.campaigns.worker import Worker, image_keys
from pipeline.config.attacks import AggMo, Attack, ByGradient, Fgsm, Noise, Pgd, Spsa
from pipeline.config.campaign import Campaign, Cell, Grid
from pipeline.config.defenses import BarrageDefense, Defense
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.scoring.intervals import Z
from pipeline.scoring.rules import attacked, single
from pipeline.store.rows import results

DEFEATED = 0.02
"""Accuracy up to which a defense counts as defeated: of a few images, none but for a stray draw."""
LITTLE = 0.05
"""A change of accuracy that says nothing; or the 95 % interval of the paired difference, where that is wider."""

Accuracy = Mapping[str, float]
"""The share of right evaluation draws of each image, by its key."""


@dataclass(frozen=True)
class Variant:
    """The cell, changed."""

    defense: Defense
    attack: Attack


@dataclass(frozen=True)
class Finding:
    """What a check says: `passed` is None where there is nothing to pass."""

    name: str
    passed: bool | None
    figures: str
    why: str


@dataclass(frozen=True)
class Check:
    """Variants by name, and what their accuracies mean; `base` is always among the accuracies."""

    name: str
    why: str
    judge: Callable[[Mapping[str, Accuracy]], bool | None]
    variants: Mapping[str, Variant] = field(default_factory=dict)


def mean(accuracy: Accuracy) -> float:
    return sum(accuracy.values()) / len(accuracy)


def lower(a: Accuracy, b: Accuracy) -> bool:
    """Whether `a` is lower than `b` on the same images, by more than chance and than a little."""
    differences = [b[key] - a[key] for key in a.keys() & b.keys()]
    n = len(differences)
    centre = sum(differences) / n
    spread = math.sqrt(sum((d - centre) ** 2 for d in differences) / max(1, n - 1) / n)
    return centre > max(LITTLE, Z * spread)


def _defeated(name: str) -> Callable[[Mapping[str, Accuracy]], bool]:
    return lambda found: mean(found[name]) <= DEFEATED


def _not_beaten_by(*names: str) -> Callable[[Mapping[str, Accuracy]], bool]:
    return lambda found: not any(lower(found[name], found["base"]) for name in names)


def checks(cell: Cell) -> Iterator[Check]:
    """The checks of a cell with a barrage whose attack follows gradients."""
    defense, attack = cell.defense, cell.attack
    assert isinstance(attack, ByGradient) and isinstance(defense, BarrageDefense)

    def same(**changes: object) -> Variant:
        return Variant(defense, attack.model_copy(update=changes))

    def scaled(eps: float) -> Variant:
        """Another radius, the steps growing with it."""
        size = getattr(attack, "step_size", None)
        return same(eps=eps, **({"step_size": size * eps / attack.eps} if size else {}))

    def other(defense: BarrageDefense) -> Variant:
        return Variant(defense, attack)

    steps, draws = getattr(attack, "steps", 1), attack.eot_draws
    ball: dict[str, Any] = {"norm": attack.norm, "eps": attack.eps}
    alike = ball | {"eot_draws": draws} | {name: getattr(attack, name) for name in ("policy", "networks", "networks_sha256")}
    yield Check("undefended", "without a defense nothing must be left: else the attack or the model is wrong",
                _defeated("none"), {"none": other(BarrageDefense(k=0))})  # fmt: skip
    yield Check("randomness frozen", "one barrage that never changes is a plain model, and must fall",
                _defeated("frozen"), {"frozen": other(defense.model_copy(update={"frozen": True}))})  # fmt: skip
    yield Check("planted weakness", "every ball holds an example that is wrong in every draw: it must be found",
                _defeated("planted"), {"planted": other(defense.model_copy(update={"planted": True}))})  # fmt: skip
    if attack.norm == "linf":
        yield Check("unbounded", "with eps = 1 every image can become any other", _defeated("eps-1"), {"eps-1": scaled(1.0)})
        yield Check("eps = 0.5", "every image can become grey: no more than chance is left",
                    lambda found: mean(found["eps-half"]) <= max(DEFEATED, 1 / cell.model.classes) + _half(found["eps-half"]),
                    {"eps-half": scaled(0.5)})  # fmt: skip
    rising = ("eps-x0.25", "eps-x0.5", "base", "eps-x2")
    curve = {f"eps-x{factor:g}": scaled(attack.eps * factor) for factor in (0.25, 0.5, 2.0)}
    yield Check("eps curve", "a larger ball holds the smaller one: no more can be left",
                lambda found: not any(lower(found[a], found[b]) for a, b in pairwise(rising)),
                curve)  # fmt: skip
    if steps > 1:
        yield Check("twice the steps", "if more steps help, the attack had not converged", _not_beaten_by("steps-x2"),
                    {"steps-x2": same(steps=2 * steps)})  # fmt: skip
        single = Fgsm(**alike, loss=attack.loss, estimator=attack.estimator)
        yield Check("single step", "one step must not beat many: else the gradients lead astray", _not_beaten_by("fgsm"),
                    {"fgsm": Variant(defense, single)})  # fmt: skip
        fewer = max(1, steps // 4)
        yield Check("draws for steps", "the same budget as a quarter of the steps with four times the draws",
                    _not_beaten_by("steps-quarter"), {"steps-quarter": same(steps=fewer, eot_draws=4 * draws)})  # fmt: skip
    yield Check("twice the draws", "if more draws help, the gradient was too noisy", _not_beaten_by("draws-x2"),
                {"draws-x2": same(eot_draws=2 * draws)})  # fmt: skip
    yield Check("another start", "if a second start helps, the first got stuck", _not_beaten_by("restarts-2"),
                {"restarts-2": same(restarts=2 * attack.restarts)})  # fmt: skip
    possible = ("combo", "identity", "network") if attack.networks else ("combo", "identity")
    policies = {f"policy-{p}": same(policy=p) for p in possible if p != attack.policy}
    yield Check("gradient policies", "another way through the transforms must not beat the one in use",
                _not_beaten_by(*policies), policies)  # fmt: skip
    losses = {f"loss-{name}": same(loss=name) for name in ("ce", "margin") if name != attack.loss}
    yield Check("losses", "another loss must not beat the one in use", _not_beaten_by(*losses), losses)
    aggmo = AggMo(**alike, kind="aggmo", steps=steps, step_size=2.5 * attack.eps / steps)
    momentum = {"aggmo": Variant(defense, aggmo)}
    if not getattr(attack, "momentum", 0):
        momentum["momentum"] = Variant(defense, Pgd(**alike, steps=steps, loss=attack.loss))
    yield Check("momentum", "following a memory of the gradients must not beat the attack in use",
                _not_beaten_by(*momentum), momentum)  # fmt: skip
    controls = {
        "noise": Variant(defense, Noise(**ball, kind="noise", steps=20, eot_draws=draws)),
        "spsa": Variant(defense, Spsa(**ball, kind="spsa", steps=max(1, steps // 4), pairs=2 * draws)),
        "transfer": same(transfer=True),
    }
    yield Check("controls", "what needs no gradient of the defense must not beat what has one: noise, SPSA, transfer",
                _not_beaten_by(*controls), controls)  # fmt: skip
    goals = {g: same(goal=g) for g in ("untargeted", "random_target", "least_likely") if g != attack.goal}
    yield Check("goals", "reported only: accuracy under other goals", lambda found: None, goals)
    for name in defense.transforms:
        yield Check(f"{name} alone", "a single transform is no defense (article: defeated every time)",
                    _defeated(f"only-{name}"), {f"only-{name}": other(BarrageDefense(k=1, transforms=(name,)))})  # fmt: skip


def _half(accuracy: Accuracy) -> float:
    """Half the 95 % interval of a mean over images."""
    n, centre = len(accuracy), mean(accuracy)
    return Z * math.sqrt(sum((a - centre) ** 2 for a in accuracy.values()) / max(1, n - 1) / n)


def chosen(campaign: Campaign, name: str | None) -> Cell:
    """The cell to check: the one named, or the defended one with the most transforms. Raises BadInput."""
    barrages = [cell for cell in campaign.grid() if isinstance(cell.defense, BarrageDefense) and cell.defense.k]
    fit = {cell.name: cell for cell in barrages if isinstance(cell.attack, ByGradient)}
    if name is not None and name not in fit:
        raise BadInput(
            f"--cell {name}: expected a cell with a barrage whose attack follows gradients: {', '.join(fit) or 'there is none'}"
        )
    if not fit:
        raise BadInput(
            f"campaign {campaign.name} has no cell with a barrage whose attack follows gradients: there is nothing to check"
        )
    return fit[name] if name else max(fit.values(), key=lambda c: c.defense.k)


def campaign_of(campaign: Campaign, cell: Cell, images: int) -> Campaign:
    """The campaign that runs every variant of the cell on the first `images` images."""
    variants = {"base": Variant(cell.defense, cell.attack)}
    for check in checks(cell):
        variants |= check.variants
    data = campaign.data.model_copy(update={"limit": min(images, campaign.data.limit or images)})
    return campaign.model_copy(
        update={
            "name": f"{campaign.name}-check",
            "data": data,
            "models": {cell.model_name: cell.model},
            "defenses": {name: v.defense for name, v in variants.items()},
            "attacks": {name: v.attack for name, v in variants.items()},
            "cells": [Grid(model=[cell.model_name], defense=[name], attack=[name]) for name in variants],
            "unit_images": campaign.unit_images or images,
            "stop": None,
            "store": None,
        }
    )


def findings(cell: Cell, store: str) -> list[Finding]:
    """What the checks say of the rows that `campaign_of` left in a store."""
    columns = ["image_key", "attack", "status", "evaluation_draws", "adv_correct"]
    found: dict[str, dict[str, float]] = {}
    rows = attacked(results(store, columns))
    for attack, key, share in zip(
        rows["attack"].to_pylist(), rows["image_key"].to_pylist(), single(rows, "adv", 1), strict=True
    ):
        found.setdefault(attack, {})[key] = float(share)
    said = []
    for check in checks(cell):
        if any(name not in found for name in ("base", *check.variants)):
            continue
        some = " ".join(f"{name} {100 * mean(found[name]):.1f}" for name in check.variants)
        said.append(Finding(check.name, check.judge(found), f"base {100 * mean(found['base']):.1f}, {some}", check.why))
    return said


def gradients(job: Job, cell: Cell, device: torch.device, draws: int = 20) -> Finding:
    """The gradient report of the cell on the images of a job: how far single draws agree, and whether any is broken."""
    worker = Worker(job, device, threading.Event())
    unit = next(iter(job.units()))
    samples = [s for s in shards.read(job.shards[unit.shard], job.places(unit)) if s.status == "ok"]
    x = (
        torch.stack([torch.from_numpy(shards.decode(s.image, cell.resize, cell.crop)) for s in samples]).to(device).float()
        / 255
    )
    label = torch.tensor([s.label for s in samples], device=device)
    goal, keys = Goal(label, torch.full_like(label, -1)), image_keys(cell, [s.key for s in samples], device)
    assert isinstance(cell.attack, ByGradient)
    report = gradient_report(worker.defended(cell), x, goal, keys, draws, cell.attack.eot(1), worker.stack(cell))
    norm, spread, cosine, agreement = (float(column.median()) for column in report[:4])
    figures = (
        f"norm {norm:.3g}, largest/median {spread:.1f}, cosine of two draws {cosine:.3f}, "
        f"signs that agree {100 * agreement:.0f} %, "
        f"zero {100 * float(report.zero.mean()):.0f} %, not finite {100 * float(report.nonfinite.mean()):.0f} %"
    )
    sound = float(report.zero.mean()) < 0.1 and float(report.nonfinite.sum()) == 0 and cosine > 0
    return Finding("gradients", sound, figures, "draws must agree on something, and none may vanish or be broken")


def to_json(cell: Cell, said: list[Finding]) -> bytes:
    return json.dumps({"cell": cell.name, "identity": cell.identity, "checks": [asdict(f) for f in said]}, indent=1).encode()
