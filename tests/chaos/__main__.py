"""Plays scenarios, and says what became of them: python -m tests.chaos [--seed 17] [--scenarios 108 | --scenario 42]"""

import argparse
import sys
import time

from tests.chaos.faults import FAULTS
from tests.chaos.players import played
from tests.chaos.scenario import together

SCENARIOS = 6 * len(FAULTS)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all that is chance")
    parser.add_argument("--scenarios", type=int, default=SCENARIOS, help="how many are played")
    parser.add_argument("--scenario", type=int, nargs="+", help="only these")
    parser.add_argument("--grounds", type=int, default=1, help="clusters to play them on, one scenario each at a time")
    asked = parser.parse_args()
    began, all_told = time.monotonic(), {}
    numbers = asked.scenario or range(asked.scenarios)
    for number, seconds, scenario, told in played(asked.seed, numbers, asked.grounds):
        all_told[number] = told
        print(f"{number:3d}  {seconds:4.0f} s  {verdict(told)}  {scenario}", flush=True)
        for wrong in told.wrong:
            print(f"     {wrong}", flush=True)
    if not all_told:
        sys.exit("no scenario was played to its end")
    show(all_told, time.monotonic() - began)
    failed = [number for number, told in sorted(all_told.items()) if verdict(told) != "ok"]
    for number in failed:
        print(f"FAILED: python -m tests.chaos --seed {asked.seed} --scenario {number}")
    sys.exit(1 if failed or len(all_told) < len(numbers) else 0)


def verdict(told):
    """In a word."""
    return "WRONG" if told.wrong or told.lost or told.doubled or told.different else "ok"


def show(all_told, seconds):
    """The summary."""
    total = together(all_told.values())
    print(f"\nscenarios       {len(all_told)}, in {seconds / 60:.0f} min")
    print(f"faults          {total.struck.total()}")
    for name in FAULTS:
        late = f", {total.missed[name]} more when all was done" if total.missed[name] else ""
        print(f"                {total.struck[name]:3d}  {name}{late}")
    print(f"rows lost       {total.lost} of {total.rows}")
    print(f"rows doubled    {total.doubled}")
    print(f"rows different  {total.different}")
    print(f"work again      {total.work} images through the network, beyond {total.once} of undisturbed runs")


if __name__ == "__main__":
    main()
