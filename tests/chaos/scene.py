"""One campaign while faults strike it: what they can do, what they can see of it, and what the end of it must be."""

import os
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.errors import BadInput
from pipeline.store.rows import results
from tests.chaos.ground import Command
from tests.support import processes
from tests.support.campaigns import checkpoints, decided, in_use

PACE = 0.03
"""Seconds of a pass of the network while there are faults to come."""


PATIENCE = 300.0
"""Seconds: far more than anything takes, on a machine that has other things to do."""

RESUMES = 3
"""At most, until all must be done: a slow machine may lose workers of its own accord, and park their units."""


@dataclass
class Told:
    """What became of a scenario."""

    struck: Counter = field(default_factory=Counter)
    missed: Counter = field(default_factory=Counter)
    """Faults that came too late: all was done."""
    rows: int = 0
    """That there should be."""
    lost: int = 0
    doubled: int = 0
    different: int = 0
    work: int = 0
    """Images that went through the network, each step and draw counted, beyond those of an undisturbed run."""
    once: int = 0
    """Those of an undisturbed run."""
    wrong: list = field(default_factory=list)
    """All else that should not be."""


class Scene:
    """`chance` is the only source of randomness."""

    def __init__(self, ground, chance, name):
        self.ground, self.chance, self.told = ground, chance, Told(rows=ground.rows.total(), once=ground.once)
        self.store = ground.stores / name
        self.commands, self.checks, self.mends = [], [], []
        self.asleep, self._seen, self._actors = set(), {}, set()
        self._before = ground.work

    @property
    def driver(self):
        """The run that was started last."""
        return self.commands[-1]

    @property
    def said(self):
        """What all runs wrote."""
        return "\n".join(command.said for command in self.commands)

    def barrage(self, *arguments):
        """Another process."""
        output = self.ground.folder / f"{self.store.name}-{time.monotonic_ns()}.txt"
        address = {} if "--here" in arguments else {"RAY_ADDRESS": self.ground.address}
        return Command(output, *arguments, **address)

    def run(self, *options):
        """Starts a run."""
        self.commands.append(self.barrage("run", self.ground.campaign, "--store", self.store, *options))
        return self.driver

    def until(self, condition, what):
        """Waits, and watches that what is committed stays as it is."""

        def look():
            self.watch()
            return condition()

        return processes.until(look, what, PATIENCE)

    def over(self, command):
        """Waits for the end of a process."""
        self.until(lambda: command.over, "the end of a command")
        return command

    def watch(self):
        """Looks at what is committed: a second commit would be another file of the same name."""
        for path in self.store.glob("results/*.parquet"):
            with suppress(FileNotFoundError):
                found = path.stat()
                if self._seen.setdefault(path, found.st_ino) != found.st_ino:
                    self._seen[path] = found.st_ino
                    self.told.wrong.append(f"{path.name} was committed twice")
        self._actors |= set(self.actors)

    def forget(self, path):
        """A file that a fault takes away or writes."""
        self._seen.pop(path, None)

    @property
    def actors(self):
        return [pid for pid in processes.actors(os.getpid()) if pid not in self.asleep]

    @property
    def committed(self):
        """Units whose rows are there, or what seems to be rows."""
        return [path.stem for path in self.store.glob("results/[!.]*.parquet")]

    def working(self):
        """Whether a run is at work, which is started if there is none, or all is done."""
        if len(self.committed) == len(self.ground.units):
            return False
        if self.driver.over:
            self.run()
        return True

    def reach(self, units, delay):
        """Goes on until so many units are committed, and some seconds more."""
        if units and self.working():
            self.until(lambda: len(self.committed) >= units or self.driver.over, f"{units} units")
        time.sleep(delay)

    def victim(self):
        """An actor that is at work, or None as the run is over."""
        found = self.until(lambda: self.actors or (self.driver.over and [None]), "an actor")
        return self.chance.choice(sorted(found)) if found != [None] else None

    def end(self):
        """No more faults: the runs end, each fault is seen to have had its effect, all is mended, and the campaign resumed."""
        self.ground.tell("pace", 0)
        if self.checks:
            self.working()
        if not all(command.over for command in self.commands):
            self.ground.heal()
        for command in self.commands:
            self.over(command)
        for check in self.checks:
            check()
        for mend in reversed(self.mends):
            mend()
        self.ground.heal()
        here = ["--here"] if self.chance.random() < 0.75 else []
        for _ in range(RESUMES):
            resumed = self.over(self.run("--retry-parked", *here))
            if resumed.code == 0:
                break
        else:
            raise AssertionError(f"the campaign can not be resumed: exit code {resumed.code}\n{resumed.said}")
        self._judge()

    def _judge(self):
        """Whether the store holds the rows of the undisturbed run, and nothing else is left."""
        told, store = self.told, self.store
        if (store / "sealed").exists():  # a copy of rows that a fault took away and a run made again
            self.compare()
            seal = self.over(self.barrage("seal", store))
            if seal.code != 0:
                told.wrong.append(f"seal has exit code {seal.code}: {seal.said}")
        verify = self.over(self.barrage("verify", store, "--sample", 2))
        if verify.code != 0:
            told.wrong.append(f"verify has exit code {verify.code}: {verify.said}")
        left = [*checkpoints(store), *store.glob("parked/*")]
        told.wrong += [f"{path.relative_to(store)} was left" for path in left]
        self.until(lambda: processes.gone(self._actors | set(self.actors)), "all actors to end")
        self.compare()
        told.work = self.ground.work - self._before - self.ground.once

    def compare(self):
        """Counts rows that are lost, doubled and different."""
        told, expected = self.told, self.ground.rows
        try:
            found = decided(self.store)
        except BadInput as error:
            told.wrong.append(str(error))
            told.lost += expected.total()
            return
        wanted, there = _keys(expected), _keys(found)
        told.lost += (wanted - there).total()
        told.doubled += (there - wanted).total()
        told.different += (expected - found).total() - (wanted - there).total()

    def close(self, keep=False):
        """Ends what is left, and puts the ground in order."""
        for command in self.commands:
            command.kill()
        for pid in [*self.asleep, *processes.actors(os.getpid())]:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        for path, data in self.ground.shards.items():
            path.write_bytes(data)
        (self.ground.stores / "filler").unlink(missing_ok=True)
        self.ground.tell("clock", 0)
        self.ground.tell("pace", PACE)
        shutil.rmtree(self.store, ignore_errors=True)

    def refuses_rows(self, path):
        """Whether reading rows ends with the name of a file, which a sealed copy may stand in for."""
        if path.relative_to(self.store).as_posix() not in in_use(self.store):
            return True
        try:
            results(str(self.store))
        except BadInput as error:
            return str(path) in str(error)
        return False


def _keys(rows):
    """How often each (cell, image) is there."""
    found = Counter()
    for row, times in rows.items():
        of = dict(row)
        found[of["cell"], of["image_key"]] += times
    return found
