"""List the checks of an honest evaluation: each is some variants of one cell, and a judgement of their accuracies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bart import TRANSFORMS
from pipeline.campaigns.check.judgement import Judge, at_chance, defeated, never_rises, not_beaten_by, reported
from pipeline.config.attacks import AggMo, Attack, ByGradient, Fgsm, Noise, Pgd, Spsa, Square
from pipeline.config.campaign import Cell
from pipeline.config.defenses import BarrageDefense, Defense

SQUARES = 100
"""The fewest steps of the square attack as a control: each changes one square."""


@dataclass(frozen=True)
class Variant:
    """Hold the defense and the attack of a cell, changed in one way."""

    defense: Defense
    attack: Attack


@dataclass(frozen=True)
class Check:
    """Hold the variants of a check by name, and the judgement of their accuracies; the cell itself is called `base`."""

    name: str
    why: str
    judge: Judge
    variants: Mapping[str, Variant] = field(default_factory=dict)


class Variants:
    """Make the variants of a cell whose attack follows gradients."""

    def __init__(self, cell: Cell) -> None:
        assert isinstance(cell.attack, ByGradient)
        self.cell, self.defense, self.attack = cell, cell.defense, cell.attack
        self.steps: int = getattr(cell.attack, "steps", 1)
        self.draws = cell.attack.eot_draws
        self.ball: dict[str, Any] = {"norm": cell.attack.norm, "eps": cell.attack.eps}
        self.rival = self.ball | {"eot_draws": self.draws}
        self.rival |= {name: getattr(cell.attack, name) for name in ("policy", "networks", "networks_sha256")}
        """Settings that another attack shares with that of the cell."""

    def defended(self, **changes: object) -> Variant:
        """Return the cell with another defense."""
        return Variant(self.defense.model_copy(update=changes), self.attack)

    def attacked(self, **changes: object) -> Variant:
        """Return the cell with other settings of its attack."""
        return Variant(self.defense, self.attack.model_copy(update=changes))

    def scaled(self, eps: float) -> Variant:
        """Return the cell with another radius; the steps grow with it."""
        size = getattr(self.attack, "step_size", None)
        return self.attacked(eps=eps, **({"step_size": size * eps / self.attack.eps} if size else {}))

    def behind(self, defense: Defense) -> Variant:
        """Return the cell's attack on another defense."""
        return Variant(defense, self.attack)

    def by(self, attack: Attack) -> Variant:
        """Return the cell's defense under another attack."""
        return Variant(self.defense, attack)


def checks(cell: Cell) -> Iterator[Check]:
    """Yield the checks of a cell whose attack follows gradients, in the order in which they are shown.

    Checks of the randomness are only for a cell that has some.
    """
    variants = Variants(cell)
    yield from _must_fall(variants)
    yield from _radius(variants)
    yield from _budget(variants)
    yield from _rivals(variants)
    yield from _goals(variants)
    yield from _parts(variants)


def _must_fall(v: Variants) -> Iterator[Check]:
    """Yield the checks where nothing may be left."""
    if v.defense.removable:
        yield Check("undefended", "without a defense nothing must be left: else the attack or the model is wrong",
                    defeated("none"), {"none": v.behind(BarrageDefense(k=0))})  # fmt: skip
    if v.defense.random:
        yield Check("randomness frozen", "one draw that never changes is a plain model, and must fall",
                    defeated("frozen"), {"frozen": v.defended(frozen=True)})  # fmt: skip
    yield Check("planted weakness", "every ball holds an example that is wrong in every draw: it must be found",
                defeated("planted"), {"planted": v.defended(planted=True)})  # fmt: skip


def _radius(v: Variants) -> Iterator[Check]:
    """Yield the checks of other radii."""
    if v.attack.norm == "linf":
        yield Check("unbounded", "with eps = 1 every image can become any other", defeated("eps-1"), {"eps-1": v.scaled(1.0)})
        yield Check("eps = 0.5", "every image can become grey: no more than chance is left",
                    at_chance("eps-half", v.cell.model.classes), {"eps-half": v.scaled(0.5)})  # fmt: skip
    curve = {f"eps-x{factor:g}": v.scaled(v.attack.eps * factor) for factor in (0.25, 0.5, 2.0)}
    yield Check("eps curve", "a larger ball holds the smaller one: no more can be left",
                never_rises(("eps-x0.25", "eps-x0.5", "base", "eps-x2")), curve)  # fmt: skip


def _budget(v: Variants) -> Iterator[Check]:
    """Yield the checks of other numbers of steps, draws and starts."""
    if v.steps > 1:
        yield Check("twice the steps", "if more steps help, the attack had not converged", not_beaten_by("steps-x2"),
                    {"steps-x2": v.attacked(steps=2 * v.steps)})  # fmt: skip
        single = Fgsm(**v.rival, loss=v.attack.loss, estimator=v.attack.estimator)
        yield Check("single step", "one step must not beat many: else the gradients lead astray", not_beaten_by("fgsm"),
                    {"fgsm": v.by(single)})  # fmt: skip
    if v.steps > 1 and v.defense.random:
        fewer = v.attacked(steps=max(1, v.steps // 4), eot_draws=4 * v.draws)
        yield Check("draws for steps", "the same budget as a quarter of the steps with four times the draws",
                    not_beaten_by("steps-quarter"), {"steps-quarter": fewer})  # fmt: skip
    if v.defense.random:
        yield Check("twice the draws", "if more draws help, the gradient was too noisy", not_beaten_by("draws-x2"),
                    {"draws-x2": v.attacked(eot_draws=2 * v.draws)})  # fmt: skip
    yield Check("another start", "if a second start helps, the first got stuck", not_beaten_by("restarts-2"),
                {"restarts-2": v.attacked(restarts=2 * v.attack.restarts)})  # fmt: skip


def _rivals(v: Variants) -> Iterator[Check]:
    """Yield the checks of other gradients and other attacks."""
    possible = ("combo", "identity", "network") if v.attack.networks else ("combo", "identity")
    policies = {f"policy-{p}": v.attacked(policy=p) for p in possible if p != v.attack.policy}
    if v.defense.named().get(TRANSFORMS.table):
        yield Check("gradient policies", "another way through the transforms must not beat the one in use",
                    not_beaten_by(*policies), policies)  # fmt: skip
    losses = {f"loss-{name}": v.attacked(loss=name) for name in ("ce", "margin") if name != v.attack.loss}
    yield Check("losses", "another loss must not beat the one in use", not_beaten_by(*losses), losses)
    aggmo = AggMo(**v.rival, kind="aggmo", steps=v.steps, step_size=min(2.5 / v.steps, 2) * v.attack.eps)
    momentum = {"aggmo": v.by(aggmo)}
    if not getattr(v.attack, "momentum", 0):
        momentum["momentum"] = v.by(Pgd(**v.rival, steps=v.steps, loss=v.attack.loss))
    yield Check("momentum", "following a memory of the gradients must not beat the attack in use",
                not_beaten_by(*momentum), momentum)  # fmt: skip
    controls = {
        "noise": v.by(Noise(**v.ball, kind="noise", steps=20, eot_draws=v.draws)),
        "spsa": v.by(Spsa(**v.ball, kind="spsa", steps=max(1, v.steps // 4), pairs=2 * v.draws)),
    }
    if v.defense.removable:
        controls["transfer"] = v.attacked(transfer=True)
    else:  # a transfer would attack the same model, whose gradients are in question
        controls["square"] = v.by(Square(**v.ball, kind="square", steps=max(SQUARES, 10 * v.steps)))
    yield Check("controls", f"what needs no gradient of the defense must not beat what has one: {', '.join(controls)}",
                not_beaten_by(*controls), controls)  # fmt: skip


def _goals(v: Variants) -> Iterator[Check]:
    goals = {g: v.attacked(goal=g) for g in ("untargeted", "random_target", "least_likely") if g != v.attack.goal}
    yield Check("goals", "reported only: accuracy under other goals", reported, goals)


def _parts(v: Variants) -> Iterator[Check]:
    for name, alone in v.defense.alone().items():
        yield Check(f"{name} alone", "a single part is no defense (article, of transforms: defeated every time)",
                    defeated(f"only-{name}"), {f"only-{name}": v.behind(alone)})  # fmt: skip
