"""Read from a store how it was made: settings, machines, failures, checks."""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator

import pandas as pd
import pyarrow as pa

from pipeline.analysis.frames import IMAGE, SETTINGS, Stores, each, listed, not_attacked
from pipeline.campaigns.attempt.image_rows import cell_columns
from pipeline.campaigns.job import Job, opened
from pipeline.storage import urls
from pipeline.store import formats, mixing
from pipeline.store.layout import Store

COLUMNS = (*mixing.COLUMNS, "seconds")
"""The columns of rows that tell on what machines they were made, and how long it took."""


def settings(job: Job) -> pd.DataFrame:
    """Return the cells of a campaign, one row each, by model, k and attack: `store`, and the columns of SETTINGS as in rows."""
    rows = [{"store": job.store} | cell_columns(cell) for cell in job.cells.values()]
    frame = pd.DataFrame(rows, columns=["store", *SETTINGS])
    return frame.sort_values(["model", "k", "attack", "cell"]).reset_index(drop=True)


def class_names(store: str) -> list[str]:
    """Return the names of the classes of a store's images, by label; empty where they are not known. Raises BadInput."""
    return opened(store).campaign.data.names


class Machines:
    """Sum up the machines and versions that rows come from, batch by batch."""

    def __init__(self) -> None:
        self.images, self._seconds = Counter[mixing.Origin](), defaultdict[mixing.Origin, float](float)

    def seen(self, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Add and yield batches of rows with COLUMNS."""
        for rows in batches:
            for origin, (count, time) in mixing.spent(rows).items():
                self.images[origin] += count
                self._seconds[origin] += time
            yield rows

    def frame(self) -> pd.DataFrame:
        """Return the lines of `machines`."""
        made = [
            origin._asdict() | {"images": images, "hours": self._seconds[origin] / 3600}
            for origin, images in self.images.items()
            if all(origin)
        ]
        frame = pd.DataFrame(made, columns=[*mixing.COLUMNS, "images", "hours"])
        frame = frame[["device", "commit", "versions", "images", "hours"]]
        return frame.sort_values("hours", ascending=False, kind="stable").reset_index(drop=True)


def machines(stores: Stores) -> pd.DataFrame:
    """Return the machines and versions that rows come from, those with the most hours first.

    Columns: `device`, `commit`, `versions` (JSON), `images` (count of rows), `hours` (of a device).
    """
    found = Machines()
    deque(found.seen(rows for _, rows in each(stores, COLUMNS)), maxlen=0)
    return found.frame()


def failures(stores: Stores, cells: Collection[str] | None = None) -> pd.DataFrame:
    """Return the images that could not be attacked, the reason that most images have first.

    cells  only these; default: all
    Columns: `status`, `error`, `images` (count), `cells` (count), `example` (the key of one such image).
    """
    bad = not_attacked(stores, [*IMAGE, "cell", "status", "error"], cells)
    bad = bad.assign(image=bad["shard"].fillna("") + "/" + bad["image_key"])
    grouped = bad.groupby(["status", "error"], observed=True, dropna=False)
    frame = grouped.agg(images=("image", "nunique"), cells=("cell", "nunique"), example=("image_key", "first"))
    return frame.reset_index().sort_values("images", ascending=False, kind="stable").reset_index(drop=True)


def checks(stores: Stores) -> pd.DataFrame:
    """Return the results of `barrage check`, a check a line; no lines where nothing was checked.

    Columns: `store`, `cell`, `name`, `passed` (None for a check that only reports), `figures` and `why` (texts).
    """
    out = []
    for url in listed(stores):
        store = Store(url)
        files = [entry.name for entry in store.list("check/*/check.json")]
        for found in (formats.of_json(urls.join(url, name), store.read(name) or b"") for name in files):
            out += [{"store": url, "cell": found["cell"], **check} for check in found["checks"]]
    return pd.DataFrame(out, columns=["store", "cell", "name", "passed", "figures", "why"], dtype=object)
