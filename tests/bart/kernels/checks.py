"""What the tests of every kernel need where there is no GPU."""

import os
import subprocess
import sys

TARGETS = (80, 90)
"""Compute capabilities that kernels are compiled for."""


def assert_interpreted(module):
    """Runs a test module's own checks in Triton's interpreter, in a process of its own: the switch is read on import."""
    switch = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", module], env=os.environ | switch, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
