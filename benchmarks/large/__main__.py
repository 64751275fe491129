"""Measure what each stage of a campaign takes from 1,000 to 100,000 images of CIFAR-10, and how it grows:

    python -m benchmarks.large measure FOLDER [--again]
    python -m benchmarks.large show docs/results/large [--picture docs/img/large.png]

FOLDER gets the shards (250 MB), a store for each size, and taken.csv, a line for each stage of each size; what stands there is
not measured again, unless it is asked for: then the least counts. Each stage is a process of its own. Times are those of cores,
as other work on the machine changes the clock's. The run of each size goes on from the store of the size before, and is given
what that took; so the network works on each image once. 100,000 images take half an hour of one core.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.large import ground
from benchmarks.large.stage import STAGES, Taken

SIZES = (1000, 3000, 10_000, 30_000, 100_000)
HEAD = ("images", "stage", *Taken._fields)


def _measure(args: argparse.Namespace) -> None:
    folder: Path = args.folder.absolute()
    path = folder / "taken.csv"
    if not path.exists():
        ground.write(folder / "images", max(args.sizes))
        path.write_text(",".join(HEAD) + "\n")
    with path.open() as file:
        known = {(int(line["images"]), line["stage"]): float(line["cores"]) for line in csv.DictReader(file)}
    before = 0
    for images in sorted(args.sizes):
        campaign, store = folder / f"{images}.yaml", folder / f"store-{images}"
        ground.campaign(campaign, folder / "images", images)
        for stage in STAGES:
            if (images, stage) in known and (stage == "run" or not args.again):
                continue
            if stage == "run" and before:
                shutil.copytree(folder / f"store-{before}", store, dirs_exist_ok=True)
            found = _apart(stage, campaign, store)
            if stage == "run" and before:
                found = found._replace(cores=found.cores + known[before, "run"])
            known[images, stage] = found.cores
            with path.open("a") as file:
                csv.writer(file, lineterminator="\n").writerow([images, stage, *(round(value, 2) for value in found)])
            print(f"{images:,} images, {stage}: {found}", flush=True)
        before = images


def _apart(stage: str, campaign: Path, store: Path) -> Taken:
    """Return what a stage takes in a fresh process. Raises SystemExit with its words if it fails."""
    order = [sys.executable, "-m", "benchmarks.large.stage", stage, str(campaign), str(store)]
    done = subprocess.run(order, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{stage} of {store}: {done.stderr}")
    return Taken(*json.loads(done.stdout))


def _show(args: argparse.Namespace) -> None:
    from benchmarks.large import exponents

    taken = exponents.read(args.folder)
    print("\n".join(exponents.lines(taken)))
    if args.picture:
        exponents.draw(taken, args.picture)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    commands = parser.add_subparsers(required=True)
    measure = commands.add_parser("measure", help="measure all stages")
    measure.add_argument("folder", type=Path)
    measure.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images")
    measure.add_argument("--again", action="store_true", help="all but runs once more")
    measure.set_defaults(run=_measure)
    show = commands.add_parser("show", help="fit and draw what was measured")
    show.add_argument("folder", type=Path)
    show.add_argument("--picture", type=Path, help="a PNG to write")
    show.set_defaults(run=_show)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
