#!/usr/bin/env bash
# statsmodels 0.15.0: the score interval of a difference fails where one of two classifiers is never or always right.
#
# Seen: `confint_proportions_2indep(0, 10, 0, 10, method="score")`, and 10 of 10 against 0, 10 or 1 against 0, raise a ValueError of a root
# finder, such as "The function value at x=0.0 is NaN; solver cannot continue"; `test_proportions_2indep` with the same method gives p = NaN.
# Expected: an interval, [-0.29, 0.29] for 0 of 10 twice: the method of Miettinen and Nurminen is defined there, and recommended for just
# such counts. "newcomb" and "agresti-caffo" of the same function give one. Two defenses that an attack breaks wholly are a common pair.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1
venv/bin/python - <<'PYTHON'
import warnings

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

warnings.filterwarnings("ignore")
PAIRS = [(0, 0), (10, 10), (10, 0), (1, 0), (5, 5)]


def interval(first: int, second: int, method: str) -> list[float] | str:
    try:
        return [round(float(end), 2) for end in confint_proportions_2indep(first, 10, second, 10, method=method)]
    except ValueError as error:
        return f"ValueError: {error}"


def end_for_none(n: int) -> float:
    """Return the upper end for 0 of n twice: given a difference d, the likeliest rates are d and 0, so d^2 = z^2 v, with
    v = d (1 - d) / n 2n / (2n - 1).
    """
    z = norm.ppf(0.975)
    return brentq(lambda d: d * d - z * z * d * (1 - d) / n * 2 * n / (2 * n - 1), 1e-9, 1)


seen = {pair: interval(*pair, "score") for pair in PAIRS}
for pair, found in seen.items():
    print(pair, "score", found, "newcomb", interval(*pair, "newcomb"))
p = test_proportions_2indep(0, 10, 0, 10, method="score").pvalue
print("p of 0 and 0:", p, "- the end in closed form:", round(end_for_none(10), 2))
assert all(isinstance(seen[pair], str) for pair in PAIRS[:4]) and isinstance(seen[5, 5], list)
assert np.isnan(p)
assert all(isinstance(interval(*pair, "newcomb"), list) for pair in PAIRS)
PYTHON
