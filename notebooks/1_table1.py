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
# # Table 1, with intervals
#
# The article (Raff et al., CVPR 2019) reports one accuracy for each model, without intervals. Here every cell of a store is
# judged in the same way: by fresh draws, on the stored image, with 95 % intervals over images.

# %%
import os
from pathlib import Path

import pandas as pd

from pipeline import analysis
from pipeline.reports import figures

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists())
STORE = os.environ.get("BARRAGE_STORE", str(ROOT / "demo" / "store"))

# %% [markdown]
# The expected accuracy of one draw. *Attacked* is the accuracy after the cell's attack; top-5 counts an image as right if
# the label is among the five likeliest classes.

# %%
table = analysis.table(STORE)
figures.table1(table)

# %% [markdown]
# The article's figures, on ImageNet; BaRT's classifier was trained with the barrage. Compare them with the table above only
# if model, training, attack and images are the same.

# %%
pd.DataFrame(
    [
        ("Inception v3", 78, 94, 0.7, 4.4),
        ("Inception v3 with adversarial training", 78, 94, 1.5, 5.5),
        ("ResNet50", 76, 93, 0, 0),
        ("ResNet50 behind BaRT, k = 5", 65, 85, 16, 51),
        ("ResNet50 behind BaRT, k = 10", 65, 85, 36, 57),
    ],
    columns=["article", "clean top-1", "clean top-5", "attacked top-1", "attacked top-5"],
)

# %% [markdown]
# ## The decision rule matters
#
# A random defense has no single answer. *single* is the expected accuracy of one draw; *vote* and *mean* use all evaluation
# draws; *persistent* lets the attacker try as often as there are draws. It is the figure that matters for a deployed system.

# %%
rates = table.pivot(index="cell", columns="rule", values="adv_top1") * 100
rates[["single", "vote", "mean", "persistent"]].round(1)

# %% [markdown]
# ## Is the difference between two cells more than chance?
#
# Both cells have the same images, so the comparison is paired: McNemar's exact test for rules with right or wrong, the sign
# test for shares. The interval of the difference is over images.

# %%
scores = analysis.scores(STORE, rule="vote")
cells = list(scores["cell"].cat.categories)
comparison = analysis.compare(scores[scores["cell"] == cells[-1]], scores[scores["cell"] == cells[0]])
print(f"{cells[-1]} against {cells[0]}: {comparison}")
