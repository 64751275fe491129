"""Measure how fast what a record holds grows, an hour, with a 95 % interval.

Memory, handles and threads belong to a process: each process has a level of its own, and all of one role share a slope, so a
new process in the place of a killed one is no growth. Folders, and the number of processes, belong to the whole record. Samples
that are close in time are alike; so those of each BLOCK count as one where the slope's error is estimated (Liang, Zeger, 1986).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from benchmarks.long.record import SECONDS

WARM = 300.0
"""Seconds of a process, and of the record, that no fit uses: libraries are loaded, models read, buffers taken."""

BLOCK = 600.0
"""Seconds of samples that count as one."""

GAP = 6 * SECONDS
"""A longer time between two samples was no part of the record: it ended there and went on later."""

MB, KB = 1e6, 1e3


@dataclass(frozen=True)
class Growth:
    """Hold a measure's name and unit, its median, its slope an hour with the ends of the interval, and what was fitted."""

    name: str
    unit: str
    level: float
    slope: float
    low: float
    high: float
    groups: int
    samples: int

    @property
    def verdict(self) -> str:
        """Return in a word what the interval says."""
        if not np.isfinite(self.low):
            return "too short to tell"
        return "grows" if self.low > 0 else "shrinks" if self.high < 0 else "no growth"

    def __str__(self) -> str:
        slope = f"{self.slope:+9.2f} [{self.low:+.2f}, {self.high:+.2f}]" if np.isfinite(self.low) else ""
        return f"{self.name:38} {self.level:9.1f} {self.unit:6} {slope:32} {self.groups:4} {self.samples:6}  {self.verdict}"


@dataclass(frozen=True)
class Recorded:
    """Hold the tables of a record with the column `hour`, from its begin and without the gaps between its pieces."""

    processes: pd.DataFrame
    folders: pd.DataFrame
    strikes: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "Recorded":
        """Read the record in a folder."""
        processes, folders, strikes = (pd.read_csv(folder / f"{name}.csv") for name in ("processes", "folders", "strikes"))
        at = np.unique(folders["at"])
        hours = np.concatenate([[0.0], np.cumsum(np.where(np.diff(at) > GAP, 0, np.diff(at)))]) / 3600
        for table in (processes, folders, strikes):
            table["hour"] = np.interp(table["at"], at, hours)
        return cls(processes, folders, strikes)

    @property
    def hours(self) -> float:
        """Return how long the record is."""
        return float(self.folders["hour"].max())


def fit(name: str, unit: str, table: pd.DataFrame, value: str, group: list[str]) -> Growth:
    """Return the common slope of `value` over `hour` of all groups of rows; without `group`, all rows are one."""
    key = table.groupby(group, sort=False).ngroup() if group else pd.Series(0, index=table.index)
    hour, y = table["hour"] - table["hour"].groupby(key).transform("mean"), table[value].astype(float)
    y = y - y.groupby(key).transform("mean")
    spread, groups = float((hour**2).sum()), int(key.nunique())
    slope = float((hour * y).sum()) / spread if spread else np.nan
    block = (table["hour"] * 3600 // BLOCK).astype(int)
    scores = ((y - slope * hour) * hour).groupby([key, block]).sum()
    free = len(scores) - groups - 1
    error = np.sqrt((scores**2).sum() * len(scores) / free) / spread if spread and free > 0 else np.nan
    half = float(t.ppf(0.975, max(free, 1)) * error)
    return Growth(name, unit, float(table[value].median()), slope, slope - half, slope + half, groups, len(table))


def fits(record: Recorded, seconds: float = WARM) -> Iterator[Growth]:
    """Yield the growth of everything that is recorded after `seconds`, but of rows: they are what a campaign is for."""
    processes = record.processes
    first = processes.groupby(["pid", "started"])["at"].transform("min")
    warm = processes[processes["at"] - first > seconds]
    for role, rows in warm.groupby("role"):
        rows = rows.assign(resident=rows["resident"] / MB)
        for value, unit in (("resident", "MB"), ("handles", ""), ("threads", "")):
            yield fit(f"{role}: {value}", unit, rows, value, ["pid", "started"])
    raylets = warm[warm["role"].str.startswith("raylet")].assign(shared=lambda rows: rows["shared"] / MB)
    yield fit("object store, touched by the raylet", "MB", raylets, "shared", ["pid", "started"])
    late = record.folders[record.folders["hour"] * 3600 > seconds]
    whole = processes[processes["hour"] * 3600 > seconds].groupby("at").agg(hour=("hour", "first"), count=("pid", "size"))
    yield fit("processes", "", whole, "count", [])
    for name, rows in late[late["folder"] != "rows"].groupby("folder"):
        yield fit(f"{name}: size", "KB", rows.assign(bytes=rows["bytes"] / KB), "bytes", [])
        yield fit(f"{name}: {'folders' if name == 'sessions of Ray' else 'files'}", "", rows, "entries", [])
