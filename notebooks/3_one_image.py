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
# # One image
#
# The clean image, the attacked image, their difference, a barrage step by step, and the class of every draw: `barrage show`
# in a notebook.

# %%
import os
import tempfile
from pathlib import Path

import pandas as pd
from IPython.display import Image

from pipeline import analysis
from pipeline.reports.image_trace import story
from pipeline.view.pictures import Key, Pictures

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists())
STORE = os.environ.get("BARRAGE_STORE", str(ROOT / "demo" / "store"))

# %% [markdown]
# The images that are hardest for the defense come first. Each column is a cell; each number is the share of draws that were
# right.

# %%
scores = analysis.scores(STORE)
images = analysis.per_image(scores)
images.head(10).round(3)

# %% [markdown]
# The first of them. The transforms are those of the first evaluation draw. It can be drawn again, because a draw depends
# only on the seed, the model and its defense, the shard, the image key and the number of the draw.

# %%
key = images["image_key"].iloc[0]
picture = Path(tempfile.mkdtemp()) / "story.png"
story(STORE, key, picture)
Image(picture)

# %% [markdown]
# Its rows, one per cell: counts of draws, distances of the stored example, and the cost.

# %%
columns = [
    "image_key",
    "shard",
    "cell",
    "label",
    "clean_correct",
    "adv_correct",
    "evaluation_draws",
    "linf",
    "l2",
    "grad_evals",
    "seconds",
]
rows = analysis.results(STORE, columns)
rows[rows["image_key"] == key]

# %% [markdown]
# What each draw said of the attacked image, and what it was made of, in the last cell of the table; and what the model got
# behind the first of them.

# %%
pictures = Pictures(STORE)
last = rows[rows["image_key"] == key].iloc[-1]
image = Key(last["cell"], last["shard"], key)
pd.DataFrame(pictures.draws(image)["adversarial"])[["draw", "right", "names", "parts", "settings"]]

# %%
Image(pictures.png(image, "adversarial-draw-0"))
