"""Judge whether an entry may stand on the board: the same rules when a store is added, and for every file that is there."""

from collections.abc import Iterator
from typing import Any

from pipeline.board.entry import CLOSE, Attack, Entry
from pipeline.config.attacks import Standard
from pipeline.scoring import blind
from pipeline.scoring.rules import RULES

IMAGES = 200
"""The fewest images. With 200 that are right or wrong, the interval of a rate of 50 % is +-7.2 points, and 0 of 200 is below
1.9 %; with 50 it would be +-14.7 points, and most defenses would share a rank."""

DRAWS = 20
"""The fewest evaluation draws of a random defense: the rules of several draws, such as a vote, mean little with fewer."""

BUDGET = 200
"""The least budget of the standard attack, in draw-gradients an image: its default."""

CHECKED = 8
"""The fewest images on which the attack was checked: the default of `barrage check`."""

FAILED = 0.01
"""The largest share of images that may have failed: they are in no rate, and might all be right, or all wrong."""

FREE = {"kind", "norm", "eps", "goal", "budget", "policy", "networks", "networks_sha256"}
"""The settings of the standard attack that may differ from their defaults; any other makes it another attack."""


def refusals(entry: Entry) -> Iterator[str]:
    """Yield why an entry may not stand on the board, each in words with the remedy; nothing if it may."""
    yield from _what_judges(entry)
    yield from _the_standard_attack(entry)
    for attack in entry.attacks:
        yield from (f"{attack.cell}: {reason}" for reason in _cell(entry, attack))
    yield from _origins(entry)
    yield from _checks(entry)
    yield from _figures(entry)


def _what_judges(entry: Entry) -> Iterator[str]:
    """Yield what is wrong with the model, or with the draws that judge."""
    if entry.model.weights_sha256 is None:
        yield f"model {entry.model.name} has no hash of its weights: save them to a file, and name that as `weights`"
    for setting in ("frozen", "planted"):
        if holds(entry.defense.settings, setting):
            yield f"defense {entry.defense.name} is {setting}, which is a check and no defense: measure it without that"
    if entry.skip_misclassified:
        yield f"skip_misclassified {entry.skip_misclassified}: rates of other rules are only upper bounds; attack every image"


def holds(settings: Any, name: str) -> bool:
    """Return whether settings have a name set, at any depth, as parts of a composition have."""
    if isinstance(settings, dict):
        return bool(settings.get(name)) or any(holds(value, name) for value in settings.values())
    return isinstance(settings, list) and any(holds(value, name) for value in settings)


def _the_standard_attack(entry: Entry) -> Iterator[str]:
    """Yield why the standard attack is missing, weaker than it must be, or changed."""
    standard = entry.standard
    ball = f"eps: {entry.eps:.6g}" if entry.norm == "linf" else f"norm: {entry.norm}, eps: {entry.eps:g}"
    if standard is None:
        found = ", ".join(f"{attack.cell} ({attack.kind})" for attack in entry.attacks)
        yield f"expected one cell of the standard attack, found {found}: run `standard: {{{ball}, budget: {BUDGET}}}`"
        return
    if entry.goal != "untargeted":
        yield f"{standard.cell} has the goal {entry.goal}: the board ranks by untargeted attacks"
    if budget_of(standard) < BUDGET:
        yield f"{standard.cell} has a budget of {budget_of(standard)} draw-gradients an image: expected at least {BUDGET}"
    fields = {name: field.default for name, field in Standard.model_fields.items() if name not in FREE}
    if changed := [name for name, value in standard.settings.items() if name in fields and value != fields[name]]:
        yield f"{standard.cell} changes {', '.join(changed)}: the standard attack sets everything but its budget itself"


def budget_of(standard: Attack) -> int:
    """Return the draw-gradients that the standard attack may spend on an image; 0 where its settings have no such number."""
    found = standard.settings.get("budget")
    return found if isinstance(found, int) else 0


def _cell(entry: Entry, attack: Attack) -> Iterator[str]:
    """Yield why one cell does not count."""
    if attack.kind == "examples":
        yield "its examples come from elsewhere, and no store tells which draws made them: attack by a kind that barrage runs"
    if attack.kind == "certify":
        yield "a certificate is no attack: leave this cell out"
    if entry.defense.random and attack.evaluation_draws < DRAWS:
        yield f"{attack.evaluation_draws} evaluation draws judged a random defense: expected at least {DRAWS} fresh ones"
    if not attack.stopped and attack.images + attack.failed < attack.planned:
        yield f"{attack.images + attack.failed} of {attack.planned} images are done: run the campaign to its end"
    if attack.images < IMAGES:
        yield f"{attack.images} images: expected at least {IMAGES}, whose interval at 50 % is +-7.2 points"
    if attack.failed > FAILED * (attack.images + attack.failed):
        yield f"{attack.failed} images failed, more than {100 * FAILED:g} %: find out why in the column `error`"
    if attack.blind:
        yield f"{blind.alarm(attack.blind, max(attack.images, 1))}: barrage check finds out why"
    if attack.moved:
        yield f"{attack.moved} examples were outside their ball: attack inside it"


def _origins(entry: Entry) -> Iterator[str]:
    """Yield what of the code or the libraries is unknown or mixed."""
    for name in ("commit", "libraries"):
        found = {str(getattr(origin, name)) for origin in entry.origins}
        if len(found) > 1:
            yield f"its rows were made with several versions ({name}: {' and '.join(sorted(found))}): run it anew with one"
    commits = {origin.commit for origin in entry.origins}
    if not commits or commits & {"", "unknown"}:
        yield "its rows name no commit of the code, so they cannot be made again: run it anew with a release or a checkout"
    if changed := sorted(commit for commit in commits if commit.endswith("+")):
        yield f"its rows were made by commit {changed[0][:12]} with changed files: run it anew with what is committed"


def _checks(entry: Entry) -> Iterator[str]:
    """Yield which checks of the attack failed or are missing."""
    if entry.standard is None:
        return
    cell, states = entry.standard.cell, entry.checks.states
    if not states or set(states.values()) == {"missing"}:
        yield f"{cell} was not checked: run barrage check CAMPAIGN --cell {cell}"
        return
    for state in ("failed", "missing"):
        if names := [name for name, found in states.items() if found == state]:
            remedy = "the attack is too weak here" if state == "failed" else f"run barrage check CAMPAIGN --cell {cell}"
            yield f"{cell}: {len(names)} checks {state} ({', '.join(names)}): {remedy}"
    if entry.checks.images < CHECKED:
        yield f"{cell} was checked on {entry.checks.images} images: check it with --images {CHECKED} or more"


def _figures(entry: Entry) -> Iterator[str]:
    """Yield the rates that do not follow from their counts, and those that contradict each other."""
    for place, measured in entry.measured():
        if not measured.kept:
            yield f"{place}: its rate or interval is not that of its images: write the entry again with barrage board add"
    for attack in entry.attacks:
        if any(side.images != attack.images for sides in attack.rules.values() for side in (sides.clean, sides.attacked)):
            yield f"{attack.cell}: a rate has another number of images than the cell: write the entry again"
        if missing := sorted(set(RULES.builtin) - attack.rules.keys()):
            yield f"{attack.cell}: there is no rate under the rule {missing[0]}: write the entry again"
    worst = entry.worst
    if worst and not worst.least.low - CLOSE <= worst.least.value <= worst.apart + CLOSE <= worst.high + 2 * CLOSE:
        yield "worst case: its bounds are not in their order: write the entry again with barrage board add"
