"""Hold the numbers that answer torch's operations to torch's distributions: by scipy's, and by torch's own where those lack."""

from typing import Any

import numpy as np
import pytest
import scipy.stats as stats
import torch

from bart.keyed.mode import Answers, counting
from bart.keyed.numbers import NotByRow
from tests.support.images import keys

N = 200
EACH = 250


def drawn(function, again=1):
    """Return what `function` draws in rows of keys, (N, EACH), as one array."""
    with counting(), Answers(keys(N)):
        for _ in range(again):
            found = function()
    return found.double().flatten().numpy()


def empty(dtype=torch.float32):
    return torch.empty(N, EACH, dtype=dtype)


CONTINUOUS: dict[str, Any] = {
    "rand": (lambda: torch.rand(N, EACH), stats.uniform()),
    "rand double": (lambda: torch.rand(N, EACH, dtype=torch.float64), stats.uniform()),
    "rand_like": (lambda: torch.rand_like(empty()), stats.uniform()),
    "uniform_": (lambda: empty().uniform_(-2, 3), stats.uniform(-2, 5)),
    "randn": (lambda: torch.randn(N, EACH), stats.norm()),
    "randn double": (lambda: torch.randn(N, EACH, dtype=torch.float64), stats.norm()),
    "randn_like": (lambda: torch.randn_like(empty()), stats.norm()),
    "randn odd": (lambda: torch.randn(N, 83, 3), stats.norm()),
    "normal_": (lambda: empty().normal_(2, 3), stats.norm(2, 3)),
    "normal of a size": (lambda: torch.normal(2.0, 3.0, (N, EACH)), stats.norm(2, 3)),
    "normal of tensors": (lambda: torch.normal(torch.full((N, 1), 2.0), torch.full((N, EACH), 3.0)), stats.norm(2, 3)),
    "normal of a mean": (lambda: torch.normal(torch.full((N, EACH), 2.0), 3.0), stats.norm(2, 3)),
    "exponential_": (lambda: empty().exponential_(0.5), stats.expon(scale=2)),
    "cauchy_": (lambda: empty().cauchy_(1, 2), stats.cauchy(1, 2)),
    "log_normal_": (lambda: empty().log_normal_(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "out": (lambda: torch.rand(N, EACH, out=torch.empty(0)), stats.uniform()),
    "gamma": (lambda: torch.distributions.Gamma(torch.full((N, 1), 2.5), 2.0).sample(), stats.gamma(2.5, scale=0.5)),
    "dirichlet": (lambda: torch.distributions.Dirichlet(torch.ones(N, 4)).sample()[:, :1], stats.beta(1, 3)),
}
"""Draws, and the distribution that they must have."""

DISCRETE: dict[str, Any] = {
    "bernoulli_": (lambda: empty().bernoulli_(0.3), {0: 0.7, 1: 0.3}),
    "bernoulli": (lambda: torch.bernoulli(torch.full((N, EACH), 0.3)), {0: 0.7, 1: 0.3}),
    "bernoulli of a number": (lambda: torch.bernoulli(empty(), 0.3), {0: 0.7, 1: 0.3}),
    "dropout": (lambda: torch.nn.functional.dropout(torch.ones(N, EACH), 0.3), {0: 0.3, 1 / 0.7: 0.7}),
    "native_dropout": (lambda: torch.native_dropout(torch.ones(N, EACH), 0.3, True)[0], {0: 0.3, 1 / 0.7: 0.7}),
    "randint": (lambda: torch.randint(2, 6, (N, EACH)), {k: 0.25 for k in range(2, 6)}),
    "randint_like": (lambda: torch.randint_like(empty(), 4), {k: 0.25 for k in range(4)}),
    "random_": (lambda: empty().random_(2, 6), {k: 0.25 for k in range(2, 6)}),
    "geometric_": (lambda: empty().geometric_(0.4).clamp(max=12), {k: stats.geom.pmf(k, 0.4) for k in range(1, 12)}),
    "multinomial again": (
        lambda: torch.multinomial(torch.tensor([[1.0, 2, 0, 5]]).expand(N, 4), EACH, replacement=True),
        {0: 1 / 8, 1: 2 / 8, 3: 5 / 8},
    ),
    "poisson": (
        lambda: torch.poisson(torch.full((N, EACH), 2.0)).clamp(max=12),
        {k: stats.poisson.pmf(k, 2) for k in range(12)},
    ),
    "binomial": (
        lambda: torch.binomial(torch.full((N, EACH), 3.0), torch.full((N, EACH), 0.3)),
        {k: stats.binom.pmf(k, 3, 0.3) for k in range(4)},
    ),
}
"""Draws, and the probability of each value; what is left of 1 is that of all others."""


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_numbers_have_torchs_distribution(name):
    function, expected = CONTINUOUS[name]
    found = drawn(function)
    assert len(found) >= N and len(np.unique(found)) > 0.98 * len(found)  # each element has its own
    assert stats.kstest(found, expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_numbers_have_torchs_distribution(name):
    function, chances = DISCRETE[name]
    found = drawn(function)
    counts = np.array([np.isclose(found, value).sum() for value in chances])
    rest = 1 - sum(chances.values())
    if rest > 1e-6:
        counts, chances = np.append(counts, len(found) - counts.sum()), {**chances, "rest": rest}
    assert counts.sum() == len(found), "a value that cannot be"
    assert stats.chisquare(counts, len(found) * np.array(list(chances.values()))).pvalue > 1e-3


def test_drawing_without_replacement_has_torchs_distribution():
    """Ordered pairs of four: the second one by what is left of the weights."""
    weights = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)
    with counting(), Answers(keys(20000)):
        pairs = torch.multinomial(weights.expand(20000, 4), 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    counts = torch.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
    chances = torch.tensor(
        [[0 if i == j else weights[i] / 10 * weights[j] / (10 - weights[i]) for j in range(4)] for i in range(4)]
    )
    kept = chances.flatten() > 0
    assert stats.chisquare(counts[kept].double(), 20000 * chances.flatten()[kept].double()).pvalue > 1e-3


def test_an_order_is_any_of_all_alike():
    counts = np.zeros((4, 4))
    for key in keys(3000):
        with counting(), Answers(key[None]):
            for place, item in enumerate(torch.randperm(4).tolist()):
                counts[place, item] += 1
    assert stats.chisquare(counts.flatten()).pvalue > 1e-3


def test_leaky_slopes_are_between_their_ends():
    x = -torch.ones(N, EACH)
    found = drawn(lambda: -torch.nn.functional.rrelu(x, 0.1, 0.4, training=True))
    assert stats.kstest(found, stats.uniform(0.1, 0.3).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_uniform_numbers_in_half_precision_stay_below_one(dtype):
    found = drawn(lambda: torch.rand(N, EACH, dtype=dtype))
    assert found.max() < 1 and abs(found.mean() - 0.5) < 0.01


def test_rows_operations_and_elements_are_independent():
    with counting(), Answers(keys(N)):
        first, second = torch.randn(N, EACH), torch.randn(N, EACH)
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 4 / (N * EACH) ** 0.5
    rows = np.corrcoef(first.numpy())[~np.eye(N, dtype=bool)]
    columns = np.corrcoef(first.numpy().T)[~np.eye(EACH, dtype=bool)]
    assert abs(rows.std() * EACH**0.5 - 1) < 0.05 and abs(columns.std() * N**0.5 - 1) < 0.05


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_numbers_do_not_depend_on_the_layout(layout):
    x = torch.zeros(5, 3, 4, 4).to(memory_format=layout)
    with counting(), Answers(keys(5)):
        like, into = torch.randn_like(x), torch.empty_like(x).normal_()
    assert like.is_contiguous(memory_format=layout)
    with counting(), Answers(keys(5)):
        assert torch.equal(torch.randn(5, 3, 4, 4), like) and torch.equal(torch.randn(5, 3, 4, 4), into)


@pytest.mark.parametrize("shape", [(), (3,), (4, 5)])
def test_a_shape_without_a_row_for_each_key_is_refused(shape):
    with counting(), Answers(keys(5)), pytest.raises(NotByRow):
        torch.rand(shape)
