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
# # Cost, and what a stronger attack gains
#
# The unit of cost is the draw-gradient: one forward and backward pass of transforms and model for one draw of one image.

# %%
import os
from pathlib import Path

from pipeline import analysis
from pipeline.reports import figures

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists())
STORE = os.environ.get("BARRAGE_STORE", str(ROOT / "demo" / "store"))

scores = analysis.scores(STORE)
spent = analysis.accuracy(scores, ["model", "k", "defense", "attack"])
spent[["defense", "attack", "images", "draw_gradients", "hours", "adv", "adv_low", "adv_high"]].round(4)

# %% [markdown]
# Hours are device hours. The rows were made on these devices:

# %%
analysis.machines(STORE)

# %% [markdown]
# Attacked accuracy against the cost of attacking one image. If a curve still falls at its right end, a stronger attack
# exists: then the accuracy is only an upper bound.

# %%
figures.cost(spent)
