import pytest
from scipy import stats

from bart.certificate import lower_bound, radius

COUNTS = [
    (hits, draws) for draws in (1, 2, 10, 1000, 100_000) for hits in {0, 1, draws // 2, int(0.9 * draws), draws - 1, draws}
]


@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-6])
def test_the_bound_is_that_of_clopper_and_pearson(alpha):
    for hits, draws in COUNTS:
        want = stats.beta.ppf(alpha, hits, draws - hits + 1) if hits else 0.0
        assert lower_bound(hits, draws, alpha) == pytest.approx(want, rel=1e-8, abs=1e-12), (hits, draws)
        low = stats.binomtest(hits, draws, alternative="greater").proportion_ci(1 - alpha, "exact").low
        assert lower_bound(hits, draws, alpha) == pytest.approx(low, rel=1e-6, abs=1e-9), (hits, draws)


@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0])
def test_the_radius_is_that_of_the_authors_formula(sigma):
    """As `certify.py` of their code has it: sigma norm.ppf(pABar), abstaining below 1/2."""
    for hits, draws in COUNTS:
        p = stats.beta.ppf(0.001, hits, draws - hits + 1) if hits else 0.0
        found = radius(hits, draws, sigma, 0.001)
        if p < 0.5:
            assert found is None, (hits, draws)
        else:
            assert found == pytest.approx(sigma * stats.norm.ppf(p), rel=1e-6), (hits, draws)


def test_all_of_100000_draws_certify_the_radius_of_the_article():
    """Cohen et al. 2019: 3.8 sigma is about the most that 100,000 draws at 99.9 % can certify."""
    assert radius(100_000, 100_000, 1.0, 0.001) == pytest.approx(3.81, abs=0.005)


def test_a_bound_below_the_truth_is_wrong_as_rarely_as_it_says():
    """Exact: the chance that a count shows whose bound is above the true p is at most alpha."""
    for p in (0.3, 0.5, 0.9):
        over = [k for k in range(51) if lower_bound(k, 50, 0.05) > p]
        assert sum(stats.binom.pmf(k, 50, p) for k in over) <= 0.05


@pytest.mark.parametrize("counts", [(-1, 5, 0.1), (6, 5, 0.1), (0, 0, 0.1), (1, 5, 0.0), (1, 5, 1.0)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="expected 0 to"):
        lower_bound(*counts)
