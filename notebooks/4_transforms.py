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
# # Which transforms matter
#
# Every evaluation draw used k transforms, which can be drawn again from its keys. Compare, for each image, the draws with a
# transform and the draws without it: the difference is the effect of the transform on accuracy, clean and attacked.

# %%
import os
from pathlib import Path

from pipeline import analysis

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists())
STORE = os.environ.get("BARRAGE_STORE", str(ROOT / "demo" / "store"))

found = analysis.by_transform(STORE)
found.sort_values("adv_difference", ascending=False).head(10).round(3)

# %% [markdown]
# Positive: draws with the transform are more often right. A transform that costs much clean accuracy and gains nothing under
# attack only harms. Each interval is for one transform alone: with 25 of them, one or two will exclude zero by chance.

# %%
columns = ["cell", "transform", "draws", "clean_difference", "adv_difference", "adv_low", "adv_high"]
certain = found[(found["adv_low"] > 0) | (found["adv_high"] < 0)]
certain[columns].sort_values("adv_difference").round(3)
