"""Check what the host has to do for a pass on a GPU: a few starts, one node of autograd, however many transforms there are."""

import json
import subprocess
import sys

import pytest

from benchmarks.host import PASS, WARM

pytest.importorskip("triton")


@pytest.mark.parametrize(("k", "side"), [(10, 224), (5, 224), (10, 32)])
def test_a_pass_takes_a_few_starts_and_one_node(k, side):
    command = [sys.executable, str(PASS), str(k), "64", str(side)]
    done = subprocess.run(command, input="go\n" * WARM, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    *_, found = map(json.loads, done.stdout.splitlines())
    assert found["nodes"] == 1 and found["replays"] == 2, "a recorded pass forward, another backward"
    assert found["launches"] <= 3 and found["operators"] <= 3, "images and gradients enter and leave"
