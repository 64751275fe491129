"""Measure how what a stage takes grows with the number of images, and draw it.

What a stage takes at any size, as to load libraries, hides how it grows. So the fit is of what it takes more than at the
smallest size, against how many images more: for a + b n a straight line of slope 1 in logarithms, for a + b n^2 it nears 2.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

LINEAR = 1.1
"""An exponent above this one is not linear."""

MATTERS = 0.1
"""A smaller share of the first value, by which a stage takes more at another size, is lost in the noise of a process."""

UNITS = {"cores": "seconds of cores", "peak": "peak memory, MB"}
"""What is fitted of a stage, and what the axis says."""


class Exponents(NamedTuple):
    """Hold the exponents over all sizes, and over the last decade of them; None where nothing grows."""

    all: float | None
    last: float | None

    def __str__(self) -> str:
        one, two = (f"{value:.2f}" if value is not None else "-" for value in self)
        return f"{one:>6} {two:>6}{'  not linear' if self.last is not None and self.last > LINEAR else ''}"


def exponents(values: Mapping[int, float]) -> Exponents:
    """Return the exponents of {images: value}, of at least three sizes.

    Sizes at which the growth does not matter are left out; with fewer than two others there are no exponents.
    """
    sizes = np.array(sorted(values), float)
    taken = np.array([values[int(size)] for size in sizes])
    more = taken - taken[0] > MATTERS * taken[0]
    x, y = np.log(sizes[more] - sizes[0]), np.log(taken[more] - taken[0])
    last = sizes[more] >= sizes[-1] / 10
    return Exponents(*(float(np.polyfit(x[part], y[part], 1)[0]) if part.sum() > 1 else None for part in (x == x, last)))


def read(folder: Path) -> pd.DataFrame:
    """Return what was measured into a folder: the least of each stage and size, in the order in which they were measured."""
    return pd.read_csv(folder / "taken.csv").groupby(["images", "stage"], sort=False, as_index=False).min()


def lines(taken: pd.DataFrame) -> list[str]:
    """Return the table: for each stage what it takes at each size, and its exponents over all sizes and the last decade."""
    sizes = sorted(taken["images"].unique())
    found = []
    for what, title in UNITS.items():
        found.append(f"{title:20}" + "".join(f"{size:>9,}" for size in sizes) + "   exponent: all, last decade")
        for stage, rows in taken.groupby("stage", sort=False):
            values = dict(zip(rows["images"], rows[what], strict=True))
            cells = "".join(f"{values[size]:9.1f}" if size in values else f"{'':9}" for size in sizes)
            found.append(f"  {stage:18}{cells}   {exponents(values) if len(values) > 2 else ''}")
    return found


def draw(taken: pd.DataFrame, path: Path) -> None:
    """Write the picture: what each stage takes against the images, both in logarithms, with a line of slope 1."""
    from matplotlib import pyplot as plt

    from pipeline.reports import figures, style

    with plt.style.context(figures.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        for axis, (what, title) in zip(axes, UNITS.items(), strict=True):
            for number, (stage, rows) in enumerate(taken.groupby("stage", sort=False)):
                line = "-" if number < len(style.SERIES) else "--"
                axis.plot(rows["images"], rows[what], line, label=stage, markersize=3, linewidth=1)
            axis.set(xscale="log", yscale="log", xlabel="images", title=title)
        _slope(axes[0], taken, "cores")
        axes[1].set_ylim(100, 10_000)
        axes[1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(path, dpi=120, metadata={"Software": None})
        plt.close(figure)


def _slope(axis: Any, taken: pd.DataFrame, what: str) -> None:
    """Draw a dotted line that is proportional to the images, up to the largest value."""
    ends = np.array([taken["images"].min(), taken["images"].max()])
    axis.plot(ends, taken[what].max() * ends / ends[1], color="0.7", linestyle=":", marker="")
