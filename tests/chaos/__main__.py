"""Plays scenarios, and says what became of them: python -m tests.chaos [--seed 17] [--scenarios 108 | --scenario 42]"""

import argparse
import sys
import time
from contextlib import suppress

from tests.chaos.faults import FAULTS
from tests.chaos.ground import Ground
from tests.chaos.scenario import Scenario, play, together

SCENARIOS = 6 * len(FAULTS)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all that is chance")
    parser.add_argument("--scenarios", type=int, default=SCENARIOS, help="how many are played")
    parser.add_argument("--scenario", type=int, nargs="+", help="only these")
    asked = parser.parse_args()
    began, all_told = time.monotonic(), {}
    with Ground() as ground:
        if not ground.small:
            print("no `disk full`: a small disk needs root, to mount one")
        with suppress(KeyboardInterrupt):  # the summary is of those that were played
            for number in asked.scenario or range(asked.scenarios):
                scenario, start = Scenario.drawn(asked.seed, number, len(ground.units)), time.monotonic()
                told = all_told[number] = play(ground, scenario)
                print(f"{number:3d}  {time.monotonic() - start:4.0f} s  {verdict(told)}  {scenario}", flush=True)
                for wrong in told.wrong:
                    print(f"     {wrong}", flush=True)
        total = together(all_told.values())
        show(total, all_told, ground, time.monotonic() - began)
    failed = [number for number, told in all_told.items() if verdict(told) != "ok"]
    for number in failed:
        print(f"FAILED: python -m tests.chaos --seed {asked.seed} --scenario {number}")
    sys.exit(1 if failed else 0)


def verdict(told):
    """In a word."""
    return "WRONG" if told.wrong or told.lost or told.doubled or told.different else "ok"


def show(total, all_told, ground, seconds):
    """The summary."""
    count, rows = len(all_told), ground.rows.total()
    print(f"\nscenarios       {count}, in {seconds / 60:.0f} min")
    print(f"faults          {total.struck.total()}")
    for name in FAULTS:
        late = f", {total.missed[name]} more when all was done" if total.missed[name] else ""
        print(f"                {total.struck[name]:3d}  {name}{late}")
    print(f"rows lost       {total.lost} of {count * rows}")
    print(f"rows doubled    {total.doubled}")
    print(f"rows different  {total.different}")
    again = f"{total.work} of {count * ground.once} images through the network"
    print(f"work again      {again}, {total.work / (count * ground.once):.0%} of undisturbed runs")


if __name__ == "__main__":
    main()
