"""What `benchmarks/gpu.sh` runs: a wrong kernel is found, and every part of the script exists and has a limit."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from bart import GREY, TRANSFORMS, dispatch
from benchmarks.gpu import kernels

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.sh"
CPU = torch.device("cpu")
SMALL = kernels.Case(2, 20, 24)


def judged(monkeypatch, change):
    """Return the faults of a kernel that is the eager definition, changed."""
    monkeypatch.setattr(dispatch, "_load", lambda place: lambda x, params: change(TRANSFORMS["gaussian_blur"].eager(x, params)))
    return kernels.faults("gaussian_blur", SMALL, CPU)


def test_the_eager_definition_has_no_fault(monkeypatch):
    assert judged(monkeypatch, lambda y: y) == []


@pytest.mark.parametrize(("change", "words"), [
    (lambda y: y + 0.01, "values differ"),
    (lambda y: y * torch.tensor([torch.nan]), "values differ"),
    (lambda y: y.detach() + 0.9 * (y - y.detach()), "product is off"),
    (lambda y: y + 1e-4 * torch.rand(()), "other bits"),
], ids=["value", "no number", "derivative", "bits"])  # fmt: skip
def test_a_wrong_kernel_is_found(monkeypatch, change, words):
    (fault,) = [fault for fault in judged(monkeypatch, change) if words in fault]
    assert fault.startswith("2 images of 20 x 24: ")


def test_grey_images_are_grey_and_nothing_mixes_their_channels():
    case = kernels.Case(2, 20, 24, grey=True)
    assert "wavelet" in GREY
    x, params = kernels.inputs(TRANSFORMS["wavelet"], case, CPU)
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2]) and not params["ycbcr"].any()
    assert kernels.inputs(TRANSFORMS["tv_chambolle"], case, CPU)[1]["per_channel"].all()


def test_the_parts_exist_and_end_within_twelve_minutes():
    text = SCRIPT.read_text()
    parts = re.findall(r'part (\d+) "([^"]+)" python -m (\S+)', text)
    names = [name for _, name, _ in parts]
    assert sorted(set(names)) == sorted(names[: len(names) // 2]), "a rehearsal has the same parts"
    assert all(module == "pytest" or find_spec(module) for _, _, module in parts)
    assert sum(int(limit) for limit, _, _ in parts[: len(parts) // 2]) < 720
    assert subprocess.run(["bash", "-n", SCRIPT], capture_output=True).returncode == 0
