"""The search is simulated: answers come from known sigmoids, by NumPy's generator."""

import numpy as np
import pytest
import torch

from bart.attacks.decisions.noisy_search import FARTHEST, QUESTIONS, search

SUBJECTS = 400


def simulated(t, slope, error, seed=0):
    """Return a function that answers yes with the chance of a sigmoid, and the places that it was asked."""
    generator, asked = np.random.default_rng(seed), []

    def ask(places, first):
        assert places.shape[1] == SUBJECTS and first == sum(len(p) for p in asked)
        asked.append(places.numpy())
        with np.errstate(over="ignore"):
            chance = error + (1 - 2 * error) / (1 + np.exp(-slope * (places.double().numpy() - t)))
        return torch.from_numpy(generator.random(chance.shape) < chance)

    return ask, asked


def bisected(ask, rounds):
    """Return what plain bisection finds, which believes every answer."""
    low, high = torch.zeros(SUBJECTS), torch.full((SUBJECTS,), FARTHEST)
    for first in range(rounds):
        middle = (low + high) / 2
        yes = ask(middle[None], first)[0]
        low, high = torch.where(yes, low, middle), torch.where(yes, middle, high)
    return (low + high) / 2


def test_without_noise_it_finds_the_place_to_the_grid():
    t = np.linspace(0.02, 1.45, SUBJECTS)
    ask, asked = simulated(t, 1e9, 0.0)
    found, width = search(ask, SUBJECTS, torch.device("cpu"))
    assert np.abs(found.numpy() - t).max() < 0.012
    assert sum(len(places) for places in asked) == QUESTIONS and width.max() < 0.02


@pytest.mark.parametrize(("slope", "error", "most"), [(30, 0.0, 0.08), (12, 0.1, 0.2), (200, 0.15, 0.12)])
def test_with_noise_its_error_is_small_and_far_below_that_of_bisection(slope, error, most):
    t = np.linspace(0.2, 1.2, SUBJECTS)
    found, _ = search(simulated(t, slope, error)[0], SUBJECTS, torch.device("cpu"))
    away = np.sqrt(((found.numpy() - t) ** 2).mean())
    plain = bisected(simulated(t, slope, error)[0], QUESTIONS).numpy()
    assert away < most and away < 0.7 * np.sqrt(((plain - t) ** 2).mean())


def test_the_width_tells_a_steep_boundary_from_a_flat_one():
    t = np.full(SUBJECTS, 0.7)
    widths = [search(simulated(t, slope, 0.0)[0], SUBJECTS, torch.device("cpu"))[1].mean() for slope in (5, 30, 1000)]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_where_yes_never_comes_the_place_is_far():
    found, _ = search(simulated(np.full(SUBJECTS, 1e9), 10, 0.0)[0], SUBJECTS, torch.device("cpu"))
    assert found.min() > 1.2
