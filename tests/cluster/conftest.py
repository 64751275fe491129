import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.commands import register
from pipeline.__main__ import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="session")
def commands():
    """Add the commands of `cluster`, also if the package is not installed."""
    register(app)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Return environment variables with which processes find this checkout and `barrage` as if they were installed."""
    site = tmp_path_factory.mktemp("site")
    about = site / "barrage-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: barrage\nVersion: 0\n")
    (entries,) = re.findall(r'\[project\.entry-points\."(.*?)"\]\n(.*?)\n\n', (ROOT / "pyproject.toml").read_text(), re.S)
    (about / "entry_points.txt").write_text("[{}]\n{}\n".format(entries[0], entries[1].replace('"', "")))
    command = site / "barrage"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipeline "$@"\n')
    command.chmod(0o755)
    return {
        "PATH": f"{site}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
        "PYTHONPATH": f"{site}:{ROOT}",
        "OMP_NUM_THREADS": "1",
        "HOME": str(tmp_path_factory.mktemp("home")),
    }


@pytest.fixture
def command(installed):
    """Return a function that runs `barrage` in a separate process; `by` is a command that runs it."""

    def call(*arguments, cwd=None, by=(), **environment):
        line = [*by, sys.executable, "-m", "pipeline", *map(str, arguments)]
        return subprocess.run(line, env=os.environ | installed | environment, cwd=cwd, capture_output=True, text=True)

    return call
