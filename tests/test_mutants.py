"""The mutants of tests/mutants.py, and that its runs tell a test that fails from one that passes."""

import os
import subprocess
import sys

from tests.mutants import mutants
from tests.support.processes import PATIENCE
from tests.support.source.imports import ROOT

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

MODULE = """
def part(a: int = 3, *, b: float = 2.0) -> float:
    if a < 0:
        raise ValueError(f"{a}: expected at least {0 + 1}")
    return -a * min(b, 1) if a and True else 0.5
"""


def test_every_place_that_computes_is_changed_and_no_other():
    found = [(one.line, one.before, one.after) for one in mutants(MODULE)]
    assert found == [
        (3, "a < 0", "a <= 0"), (3, "0", "1"), (3, "0", "-1"),
        (5, "-a * min(b, 1) if a and True else 0.5", "0.5 if a and True else -a * min(b, 1)"),
        (5, "a and True", "a or True"), (5, "True", "False"), (5, "-a * min(b, 1)", "-a / min(b, 1)"), (5, "-a", "a"),
        (5, "min", "max"), (5, "1", "2"), (5, "1", "0"), (5, "0.5", "1.0"),
    ]  # fmt: skip
    assert len({one.module for one in mutants(MODULE)}) == len(found), "each is another module"


def test_a_mutant_that_no_test_notices_is_printed(tmp_path):
    """Make a checkout of two functions, of which one has a test."""
    for folder in ("bart", "tests/bart"):
        (tmp_path / folder).mkdir(parents=True)
        for package in (tmp_path / folder, tmp_path / folder.split("/")[0]):
            (package / "__init__.py").touch()
    (tmp_path / "bart/sums.py").write_text("def held(a):\n    return a + 3\n\n\ndef free(a):\n    return a - 5\n")
    (tmp_path / "tests/bart/test_sums.py").write_text("from bart.sums import held\n\ndef test_it():\n    assert held(1) == 4\n")
    (tmp_path / "tests/mutants.py").write_text((ROOT / "tests/mutants.py").read_text())
    (tmp_path / "pyproject.toml").touch()
    command = [sys.executable, "-m", "tests.mutants", "bart/sums.py", "--import", "pytest"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.splitlines() == [
        "  bart/sums.py:6: 5  ->  4", "  bart/sums.py:6: 5  ->  6", "  bart/sums.py:6: a - 5  ->  a + 5",
        "bart/sums.py: 6 of 6 mutants, 3 noticed, 3 not",
    ], done.stdout + done.stderr  # fmt: skip
    (tmp_path / "tests/bart/test_sums.py").write_text("def test_it():\n    assert False, 'as ever'\n")
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "its tests fail without a change" in done.stderr and "as ever" in done.stdout
