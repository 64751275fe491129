"""Check the random numbers' kernels against `bart.rng`, bit for bit, in Triton's interpreter; and compile them."""

from unittest.mock import patch

import pytest
import torch

from bart import dispatch, rng
from bart.gpu_kernels.common import launcher
from tests.support.contracts.kernels import TARGETS, assert_compiles, assert_interpreted
from tests.support.images import keys

pytest.importorskip("triton")

COUNT = 150
CASES = {
    "fold": (
        *(lambda k, data=data: rng.fold(k, data) for data in ("name", "", 0, 1, 7, -1, 2**62, 2**63 - 1, -(2**63), 2**64 - 2)),
        lambda k: rng.fold(k.reshape(3, -1), "name"),
        lambda k: rng.fold(k[::3], "name"),
    ),
    "bits": (lambda k: rng.bits(k, "seed"), lambda k: rng.bits(k, "x", (3,)), lambda k: rng.bits(k[1::2], "x", (2, 5))),
    "coin": (lambda k: rng.coin(k, "on"), lambda k: rng.coin(k, "on", (3,))),
    "uniform": (
        lambda k: rng.uniform(k, "x"),
        lambda k: rng.uniform(k, "x", 2, 3, (3,)),
        lambda k: rng.uniform(k, "sigma", 0.1, 3.0, (40,)),
        lambda k: rng.uniform(k, "clip", 0.01, 0.04, (40,)),
        lambda k: rng.uniform(k, "x", -0.25, 0.7, (40,)),
        lambda k: rng.uniform(k, "x", 1e-9, 1.7e-9, (40,)),
    ),
    "integers": (
        lambda k: rng.integers(k, "x", 0, 1),
        lambda k: rng.integers(k, "x", 8, 200, (3,)),
        lambda k: rng.integers(k, "x", -5, 5, (2, 3)),
        lambda k: rng.integers(k, "x", -3, 2**31 - 4),
        lambda k: rng.integers(k, "x", 5, 5),
        lambda k: rng.integers(k, "x", 0, torch.arange(len(k))),
        lambda k: rng.integers(k, "x", -torch.arange(len(k)), 3),
        lambda k: rng.integers(k, "x", torch.arange(4).int(), 7 * torch.arange(len(k))[:, None] + 4, (4,)),
        lambda k: rng.integers(k, "x", torch.tensor(4), torch.arange(8).reshape(2, 1, 4) * 9 + 4, (2, 3, 4)),
        lambda k: rng.integers(k, "x", 0, torch.arange(2 * len(k)).reshape(2, -1).T, (2,)),
    ),
    "order": tuple(lambda k, count=count: rng.order(k, "groups", count) for count in (1, 2, 8, 10, 70)),
}


def _on_kernels(case, some):
    """Run one of the cases above as on a GPU."""
    with patch.object(dispatch, "hashing", lambda keys: True):
        return case(some)


def test_interpreted_kernels_give_the_same_numbers():
    assert_interpreted(__name__)


@pytest.mark.parametrize("capability", TARGETS)
def test_kernels_compile(capability):
    cases = [case for name in CASES for case in CASES[name][-2:]]
    assert_compiles(lambda: [_on_kernels(case, keys(COUNT)) for case in cases], capability)


def test_a_call_is_one_launch(monkeypatch):
    launches = []
    monkeypatch.setattr(launcher, "launch", lambda kernel, *_, **__: launches.append(kernel))
    for cases in CASES.values():
        for case in cases:
            launches.clear()
            _on_kernels(case, keys(COUNT))
            assert len(launches) == 1


def test_a_cpu_has_no_kernels():
    assert not dispatch.hashing(keys(2))


def _compare() -> None:
    some = torch.cat([keys(COUNT - 6), torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 5])])
    for name, cases in CASES.items():
        for number, case in enumerate(cases):
            for k in (some, some[:3]):
                truth = case(k)
                ours = _on_kernels(case, k)
                assert ours.dtype is truth.dtype and torch.equal(ours, truth), f"{name}, case {number}"


if __name__ == "__main__":
    _compare()
