"""Scenarios: which faults strike when, and what became of the campaign. Everything that is chance follows from the seed."""

import random
import traceback
from dataclasses import dataclass

from tests.chaos.faults import FAULTS
from tests.chaos.scene import PACE, Scene, Told


@dataclass(frozen=True)
class Strike:
    """A fault, once so many units are committed, and some seconds later."""

    fault: str
    units: int
    seconds: float


@dataclass(frozen=True)
class Scenario:
    """Up to three faults. The first ones of consecutive numbers are all that there are, in turn."""

    seed: int
    number: int
    strikes: tuple[Strike, ...]

    @classmethod
    def drawn(cls, seed, number, units):
        """A scenario of a campaign of so many units."""
        chance, names = random.Random(f"{seed} {number}"), list(FAULTS)
        more = chance.choices(names, k=chance.choices([0, 1, 2], [4, 3, 3])[0])
        faults = [names[number % len(names)], *more]
        chance.shuffle(faults)
        moments = sorted(chance.choice([0, 0, *range(units - 4)]) for _ in faults)
        strikes = [Strike(f, n, round(chance.uniform(0, 0.3 if n else 2), 2)) for f, n in zip(faults, moments, strict=True)]
        return cls(seed, number, tuple(strikes))

    def __str__(self):
        return ", ".join(f"{s.fault} at {s.units} units + {s.seconds} s" for s in self.strikes)


def play(ground, scenario):
    """Plays a scenario to its end; gives what became of it."""
    scene = Scene(ground, random.Random(f"{scenario.seed} {scenario.number} play"), f"scenario{scenario.number}")
    ground.tell("pace", PACE)
    try:
        ground.heal()
        scene.run()
        for strike in scenario.strikes:
            scene.reach(strike.units, strike.seconds)
            struck = scene.working() and FAULTS[strike.fault](scene)
            (scene.told.struck if struck else scene.told.missed)[strike.fault] += 1
        scene.end()
    except Exception:  # of a hundred scenarios, one that goes wrong does not end the others
        scene.told.wrong.append(traceback.format_exc())
    finally:
        scene.close()
    return scene.told


def together(told):
    """The sum of many."""
    total = Told()
    for one in told:
        total.struck += one.struck
        total.missed += one.missed
        for name in ("rows", "lost", "doubled", "different", "work", "once"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.wrong += one.wrong
    return total
