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
# A failing attack looks like a strong defense. `barrage check CAMPAIGN` runs what an honest evaluation (Carlini et al., 2019)
# asks for on a sample: controls that must succeed, and variants that must not beat the attack in use. What it found lies in the
# store, and is shown here; without it there is nothing to show yet.

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
# - **undefended, frozen, planted, unbounded** must fall to nothing: else the attack, the gradient or the model is broken.
# - **eps curve**: a larger ball holds the smaller one, so accuracy can only fall.
# - **twice the steps, draws, starts**: if more of anything helps, the attack had not converged: the table is an upper bound.
# - **controls**: what needs no gradient (noise, SPSA, transfer) must not beat what has one, or gradients lead astray.
#
# Those that failed:

# %%
checks[checks["passed"].eq(False)]
