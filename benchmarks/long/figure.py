"""Draw a record: memory, handles and threads by role, bytes and entries of folders, and a line where a fault struck."""

from pathlib import Path
from typing import Any

from benchmarks.long.growth import KB, MB, Recorded
from pipeline.reports import figures


def draw(record: Recorded, path: Path) -> None:
    """Write the picture of a record. Rows are left out: they grow, as they should."""
    from matplotlib import pyplot as plt

    with plt.style.context(figures.STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(11, 5.5), sharex=True, layout="constrained")
        totals = record.processes.groupby(["hour", "role"])[["resident", "handles", "threads"]].sum().unstack("role")
        for axis, (value, title, unit) in zip(
            axes[0], (("resident", "memory, MB", MB), ("handles", "file handles", 1), ("threads", "threads", 1)), strict=True
        ):
            _lines(axis, totals[value] / unit, title)
        folders = record.folders[record.folders["folder"] != "rows"]
        sizes, entries = (folders.pivot_table(index="hour", columns="folder", values=name) for name in ("bytes", "entries"))
        _lines(axes[1, 0], sizes.drop(columns="store without rows") / KB, "folders, KB")
        _lines(axes[1, 1], sizes[["store without rows"]] / MB, "store without rows, MB")
        _lines(axes[1, 2], entries, "files; folders of sessions")
        for axis in axes.flat:
            for hour in record.strikes["hour"]:
                axis.axvline(hour, color="0.8", linewidth=0.8, zorder=0)
        for axis in axes[1]:
            axis.set_xlabel("hours of the record")
        figure.savefig(path, dpi=120, metadata={"Software": None})
        plt.close(figure)


def _lines(axis: Any, table: Any, title: str) -> None:
    for name in table:
        axis.plot(table.index, table[name], label=name, linewidth=1, marker="")
    axis.set_title(title, loc="left", fontsize=9)
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=6, loc="center right")
