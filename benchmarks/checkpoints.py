"""Measure what checkpoints cost a worker, of every kind of attack, before and now: python -m benchmarks.checkpoints

    shares --before COMMIT   print the share of a worker's time that checkpoints take, for each kind of attack
    large                    kill a worker in the middle of a checkpoint of 4 GB, and go on from the one before

A state has as many images of 224 px as the build gives a unit at most. It is saved to a disk that writes --rate MB a second at
most, as a bucket does under many workers. Share: the seconds for which the attack is held up (on a CPU the processor time of
the thread that writes too), over the seconds from one checkpoint to the next. Large states are measured at a quarter, or less.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.side_by_side import ROOT, checkout

SAVED = """
import json, sys, time
import torch
from bart import Goal, Mirror
from pipeline.config.campaign import parse
from pipeline.planning import unit_sizes
from pipeline.storage import disk
from pipeline.store.attempts import Attempts
from pipeline.store.checkpoints import Header
from pipeline.store.layout import Store
from tests.support import tiny
try:
    from pipeline.campaigns.attempt import saving
    from pipeline.planning.state_sizes import bytes_an_image
except ImportError:
    saving = None
kind, folder, rate, most, cpu = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "cpu"
def slow(write):
    def replace(self, name, data):
        began = time.monotonic()
        write(self, name, data)
        size = (self.root / name).stat().st_size
        time.sleep(max(0, size / rate - (time.monotonic() - began)))
    return replace
disk.Disk.replace = slow(disk.Disk.replace)
attack = {"kind": kind, "eps": 20 if kind == "sigma_zero" else "8/255"}
content = tiny.campaign("x.tar", attacks={"a": attack}, unit_images=None,
    data={"shards": "x.tar", "crop": 224}, cells=[{"model": "net", "defense": "none", "attack": "a"}])
campaign = parse(content, "c")
(cell,) = campaign.grid()
images = unit_sizes.cuts(campaign, [cell], {"x": 10**6}, {cell.name: 1e12})[cell.name].images
def started(count):
    label = torch.zeros(count, dtype=torch.int64)
    return cell.built.start(torch.rand(count, 3, 224, 224), Goal(label, label - 1), Mirror.of(torch.arange(count), "cpu"))
def size(state):
    return sum(v.numel() * v.element_size() for n, v in state.tensors().items() if n != "clean") / len(state.x)
each = size(started(1))
count = max(1, min(images, int(most / each)))
state, scale = started(count), images / count
attempts = Attempts(Store(folder), "checkpoints/unit.safetensors")
def snapshot():
    tensors = state.tensors()
    del tensors["clean"]
    return saving.copied(tensors, torch.device("cpu")) if saving else tensors
header = Header("unit", "cell", 1.0, 10, count, 0.0)
if saving:
    saver = saving.Saver(attempts, 120.0, torch.device("cpu" if cpu else "cuda"))
    torch.cuda.synchronize = lambda device: None
    for _ in range(2):
        saver.save(header, snapshot)
        saver.finish()
    held, took = saver.pace.cost * scale, saver.pace.took * scale
    pace = saving.Pace(120.0, held, took)
    share, every = held / pace.interval, pace.interval
else:
    for _ in range(2):
        began = time.monotonic()
        attempts.save(header, snapshot())
        held = (time.monotonic() - began) * scale
    share, every = held / (120 + held), 120 + held
print(json.dumps({"images": images, "bytes": images * each, "held": held, "share": share, "every": every}))
"""
"""Save the state of a kind twice; the second time counts."""

KINDS = (
    "pgd",
    "dual_averaging",
    "standard",
    "aggmo",
    "apgd",
    "lbfgs",
    "square",
    "spsa",
    "sigma_zero",
    "pop_skip_jump",
    "noise",
)

LARGE = """
import sys, time, torch
from pipeline.campaigns.attempt.saving import Saver
from pipeline.store.attempts import Attempts
from pipeline.store.checkpoints import Header
from pipeline.store.layout import Store
images = int(sys.argv[2])
saver = Saver(Attempts(Store(sys.argv[1]), "checkpoints/unit.safetensors"), 120.0, torch.device("cpu"))
def state(step):
    chance = torch.Generator().manual_seed(step)
    return {f"memory.{i}": torch.rand(images, 3, 224, 224, generator=chance) for i in range(20)}
def save(step):
    tensors = state(step)
    saver.save(Header("unit", "cell", float(step), 100, images, 0.0), lambda: tensors)
if len(sys.argv) > 3:
    import hashlib
    header, found = Attempts(Store(sys.argv[1]), "checkpoints/unit.safetensors").furthest("unit", "cell")
    digest = lambda tensors: hashlib.sha256(b"".join(hashlib.sha256(tensors[n].numpy()).digest() for n in sorted(tensors)))
    found_digest = digest(found).hexdigest()
    del found
    print(header.step, found_digest == digest(state(int(header.step))).hexdigest())
else:
    save(1)
    saver.finish()
    print(f"{saver.size / 1e9:.2f} GB, {saver.pace.took:.1f} s", flush=True)
    save(2)
    print("begun", flush=True)
    time.sleep(600)
"""


def saved(build: Path, kind: str, args: argparse.Namespace) -> dict[str, float]:
    """Return what a build says of a kind."""
    with tempfile.TemporaryDirectory(prefix="saved-", dir=args.folder) as folder:
        environment = os.environ | {"PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"}
        call = [sys.executable, "-c", SAVED, kind, folder, str(args.rate * 1e6), str(args.most * 1e6), args.device]
        done = subprocess.run(call, cwd=build, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def shares(args: argparse.Namespace) -> None:
    """Print a line a kind."""
    with checkout(args.before) as before:
        for kind in args.kind:
            old, new = saved(before, kind, args), saved(ROOT, kind, args)
            print(
                f"{kind:15s} before: {old['images']:4.0f} images, {old['bytes'] / 1e6:5.0f} MB, held up {old['held']:6.2f} s, "
                f"{100 * old['share']:5.2f} % of the time; now: {new['images']:4.0f} images, {new['bytes'] / 1e6:5.0f} MB, "
                f"held up {new['held']:5.2f} s every {new['every']:4.0f} s, {100 * new['share']:.2f} %",
                flush=True,
            )


def large(args: argparse.Namespace) -> None:
    """Print what is left of a checkpoint of some GB whose successor was cut off."""
    images = round(args.gb * 1e9 / (20 * 12 * 224**2))
    with tempfile.TemporaryDirectory(prefix="large-", dir=args.folder) as folder:
        call = [sys.executable, "-c", LARGE, folder, str(images)]
        process = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        print("a whole one:", process.stdout.readline().strip(), flush=True)
        process.stdout.readline()
        while not any(path.stat().st_size > args.gb * 2.5e8 for path in (Path(folder) / ".aside").iterdir()):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (cut,) = (Path(folder) / ".aside").iterdir()
        print(f"killed when {cut.stat().st_size / 1e9:.2f} GB of the next were written", flush=True)
        began = time.monotonic()
        step, same = subprocess.run([*call, "read"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        assert (step, same) == ("1.0", "True"), f"step {step}, {same}"
        print(
            f"the next attempt goes on from step 1, bit for bit the same; read and compared in {time.monotonic() - began:.0f} s"
        )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None, help="on the disk to write to; default: the system's temporary one")
    commands = parser.add_subparsers(required=True)
    of_shares = commands.add_parser("shares")
    of_shares.add_argument("--before", required=True, help="a commit")
    of_shares.add_argument("--kind", nargs="+", default=list(KINDS))
    of_shares.add_argument("--rate", type=float, default=200, help="MB a second of the store")
    of_shares.add_argument("--most", type=float, default=500, help="MB of a state that is really saved")
    of_shares.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="whether the thread that writes counts")
    of_shares.set_defaults(run=shares)
    of_large = commands.add_parser("large")
    of_large.add_argument("--gb", type=float, default=4)
    of_large.set_defaults(run=large)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
