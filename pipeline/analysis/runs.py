"""What a store says of its own making: settings, machines, failures."""

import json

import pandas as pd

from pipeline.analysis.frames import SETTINGS, Stores, listed, results
from pipeline.campaigns.image_rows import cell_columns
from pipeline.campaigns.job import Job
from pipeline.store.layout import Store


def settings(job: Job) -> pd.DataFrame:
    """The cells of a campaign, a line each, by model, k and attack: `store` and the settings as rows hold them."""
    found = [{"store": job.store} | cell_columns(cell) for cell in job.cells.values()]
    frame = pd.DataFrame(found, columns=["store", *SETTINGS])
    return frame.sort_values(["model", "k", "attack", "cell"]).reset_index(drop=True)


def machines(stores: Stores) -> pd.DataFrame:
    """What rows were made on: `device`, `commit`, `versions` (JSON), with `images` and `hours` (of a device); most first."""
    columns = ["device", "commit", "versions"]
    found = results(stores, [*columns, "seconds"]).groupby(columns, observed=True)["seconds"]
    frame = pd.DataFrame({"images": found.size(), "hours": found.sum() / 3600}).reset_index()
    return frame.sort_values("hours", ascending=False).reset_index(drop=True)


def failures(stores: Stores) -> pd.DataFrame:
    """Images that could not be attacked: `status`, `error`, how many `images` and in how many `cells`, an `example` key."""
    found = results(stores, ["image_key", "cell", "status", "error"])
    bad = found[found["status"] != "ok"].astype({"image_key": str, "cell": str})
    grouped = bad.groupby(["status", "error"], observed=True, dropna=False)
    frame = grouped.agg(images=("image_key", "nunique"), cells=("cell", "nunique"), example=("image_key", "first"))
    return frame.reset_index().sort_values("images", ascending=False).reset_index(drop=True)


def checks(stores: Stores) -> pd.DataFrame:
    """What `barrage check` found: `store`, `cell`, the check's `name`, whether it `passed` (None: nothing to pass), its
    `figures` and `why` it is asked, as texts. No lines where nothing was checked."""
    out = []
    for url in listed(stores):
        store = Store(url)
        files = [entry.name for entry in store.list("check/*/check.json")]
        for found in (json.loads(store.read(name) or b"{}") for name in files):
            out += [{"store": url, "cell": found["cell"], **check} for check in found["checks"]]
    return pd.DataFrame(out, columns=["store", "cell", "name", "passed", "figures", "why"], dtype=object)
