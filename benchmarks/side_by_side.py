"""Run builds side by side: each in a process of its own, asked line by line in turns, so that all meet the same machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit."""
    with tempfile.TemporaryDirectory(prefix="build-") as folder:
        tar = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=tar, check=True)
        yield Path(folder)


class Build:
    """Run a program on the build in a folder, on one thread: for each line that it reads it prints one."""

    def __init__(self, folder: Path, *words: object) -> None:
        """Start the program, which `words` name to Python."""
        self.folder = folder
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, *map(str, words)]
        self.process = subprocess.Popen(
            arguments, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str = "go") -> str:
        """Return the answer to a line. Raises RuntimeError if the program has ended; what it says of that is on stderr."""
        assert self.process.stdin and self.process.stdout
        with suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        if answer := self.process.stdout.readline():
            return answer
        raise RuntimeError(f"the build in {self.folder} ended with exit code {self.process.wait()}")

    def memory(self) -> int:
        """Return the most memory that the process has held, in kB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    def close(self) -> None:
        """End the program: it has no more lines to read."""
        self.process.communicate()


@contextmanager
def builds(folders: Iterable[Path], *words: object) -> Iterator[list[Build]]:
    """Yield the same program on each of several builds, and end them all afterwards."""
    started = [Build(folder, *words) for folder in folders]
    try:
        yield started
    finally:
        for build in started:
            build.close()


def ratio(times: np.ndarray) -> tuple[float, float, float]:
    """Return the median of before over after, and the ends of its 95 % interval, of rounds (n, 2)."""
    ratios, chance = times[:, 0] / times[:, 1], np.random.default_rng(0)
    medians = np.median(chance.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)
