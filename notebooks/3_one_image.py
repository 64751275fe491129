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
# # One image's story
#
# Clean, attacked, their difference, a barrage step by step, what every draw said: `barrage show` in a notebook.

# %%
import os
import tempfile
from pathlib import Path

from IPython.display import Image

from pipeline import analysis
from pipeline.reports.image_trace import story

ROOT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "pyproject.toml").exists())
STORE = os.environ.get("BARRAGE_STORE", str(ROOT / "demo" / "store"))

# %% [markdown]
# The images that are hardest for the defense come first: a column is a cell, a figure the share of draws that were right.

# %%
scores = analysis.scores(STORE)
images = analysis.per_image(scores)
images.head(10).round(3)

# %% [markdown]
# Take the first. The transforms are those of the first evaluation draw: it can be drawn again, since what an image goes
# through depends only on the seed, the cell, the image's key and the draw's number.

# %%
key = images["image_key"].iloc[0]
picture = Path(tempfile.mkdtemp()) / "story.png"
story(STORE, key, picture)
Image(picture)

# %% [markdown]
# Its rows, one a cell: counts of draws, distances of the stored example, and what it cost.

# %%
columns = [
    "image_key",
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
