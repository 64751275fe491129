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
# # Is the attack strong enough?
#
# A weak attack looks like a strong defense. `barrage check CAMPAIGN` runs the controls of an honest evaluation (Carlini et
# al., 2019) on a sample: attacks that must succeed, and variants that must not be stronger than the attack in use. Its
# results are in the store and are shown here; without them this notebook has nothing to show.

# %%
import os
from pathlib import Path

from pipeline import analysis

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists())
STORE = os.environ.get("BARRAGE_STORE", str(ROOT / "demo" / "store"))

checks = analysis.checks(STORE)
checks if len(checks) else print("not checked yet: barrage check campaigns/demo.yaml")

# %% [markdown]
# How to read it:
#
# - **undefended, frozen, planted, unbounded**: accuracy must be 0; else the attack, the gradient or the model is broken.
# - **eps curve**: a larger ball contains the smaller one, so accuracy can only fall.
# - **twice the steps, draws, starts**: if a larger budget helps, the attack had not converged, and the table is an upper
#   bound.
# - **controls**: attacks without the gradient (noise, SPSA, transfer) must not be stronger than the attack in use; else
#   gradients mislead.
#
# The checks that failed:

# %%
checks[checks["passed"].eq(False)]
