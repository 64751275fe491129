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
# Each additional transform makes the attack's gradients noisier and the classifier's task harder: attacked accuracy rises,
# clean accuracy falls. Bars are 95 % intervals over images; dashed lines are clean accuracy.

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
# The numbers of the figure. `images` counts attacked images; failed images are in no rate.

# %%
by_k.round(3)

# %% [markdown]
# ## The worst of all attacks
#
# Several attacks on the same images make a stricter test: each image counts with its result under its worst attack.

# %%
analysis.worst_case(scores).round(3)

# %% [markdown]
# ## An attacker who asks again
#
# With a random defense, an example that fails once may succeed at the next query. The accuracy if all of m fresh draws must
# be right:

# %%
random = scores[scores["evaluation_draws"] > 1]
figures.curve(analysis.persistence(random, ["cell"]), "draws", clean=False)
