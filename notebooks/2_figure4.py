# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Figure 4: accuracy against the number of transforms
#
# Each transform more makes the attack's gradients noisier and the classifier's task harder: attacked accuracy rises, clean
# accuracy falls. Bars are 95 % intervals over images; dashed lines are clean accuracy.

# %%
import os
from pathlib import Path

from pipeline import analysis
from pipeline.reports import figures

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists())
STORE = os.environ.get("BARRAGE_STORE", str(ROOT / "demo" / "store"))

scores = analysis.scores(STORE)
by_k = analysis.curve(scores, "k")
figures.curve(by_k, "k")

# %% [markdown]
# The figures behind it. `images` are those that were attacked; failed ones leave every rate.

# %%
by_k.round(3)

# %% [markdown]
# ## The worst of all attacks
#
# Several attacks on the same images bound the defense from above: an image counts as right only as far as it is under the
# attack that is worst for it.

# %%
analysis.worst_case(scores).round(3)

# %% [markdown]
# ## An attacker who asks again
#
# With randomness, an example that fails once may succeed at the next query. What is left if m fresh draws must all be right:

# %%
random = scores[scores["evaluation_draws"] > 1]
figures.curve(analysis.persistence(random, ["cell"]), "draws", clean=False)
