#!/usr/bin/env bash
# statsmodels 0.15.0: McNemar's test of two classifiers that never differ gives p = 0.
#
# Seen: `mcnemar([[5, 0], [0, 5]], exact=False)` gives the statistic inf and the p-value 0.0; `exact=True` gives 1.0. With three images in
# each discordant cell the statistic is 1/6 instead of 0.
# Expected: no difference, no evidence. The usual statistic with continuity correction, which its page names, is (|b - c| - 1)^2 / (b +
# c); the correction moves |b - c| towards 0 and can't take it past 0 (Edwards 1948). So b = c must give 0 and p = 1, and b = c = 0 no
# more evidence than that.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check statsmodels==0.15.0
venv/bin/python - <<'PYTHON'
import warnings

from statsmodels.stats.contingency_tables import mcnemar

warnings.simplefilter("ignore")
tables = {"never differ": [[5, 0], [0, 5]], "three each way": [[5, 3], [3, 5]]}
for name, table in tables.items():
    rough, exact = mcnemar(table, exact=False), mcnemar(table, exact=True)
    print(f"{name}: statistic {rough.statistic}, p {rough.pvalue}; exact p {exact.pvalue}")
never = mcnemar(tables["never differ"], exact=False)
assert never.statistic == float("inf") and never.pvalue == 0.0
assert abs(mcnemar(tables["three each way"], exact=False).statistic - 1 / 6) < 1e-12
PYTHON
