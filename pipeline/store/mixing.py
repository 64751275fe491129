"""Warn where rows or checkpoints of one store were made by different code, or in different environments.

None of this changes an identity, so such rows count together. Their numbers may still differ in the last digits, or by a change
of the code that went unnoticed. Each row has the columns `commit`, `versions` and `device`.
"""

import json
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BadInput
from pipeline.store import checkpoints, rows
from pipeline.store.formats import StoreWarning
from pipeline.store.layout import Store

COLUMNS = ("commit", "versions", "device")
"""The columns that describe the code and the environment of a row."""

LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "scikit-image")
"""Those of `versions` that compute with pixels."""

SAMPLE = 32
"""Files of rows, and checkpoints, that are opened before a run: whatever the size of the store."""


class Origin(NamedTuple):
    """Hold the commit, the libraries' versions (JSON) and the device that rows were made with; empty where unknown."""

    commit: str
    versions: str
    device: str


Origins = Mapping[Origin, int]
"""How many rows, or files, each origin has."""


def counted(table: pa.Table) -> Counter[Origin]:
    """Return the origins of some rows with the columns of COLUMNS."""
    return Counter({origin: images for origin, (images, _) in spent(table).items()})


def spent(table: pa.Table) -> dict[Origin, tuple[int, float]]:
    """Return how many of some rows have each origin, and their `seconds` together; 0 where the table lacks that column."""
    words = [table[name].combine_chunks() for name in COLUMNS]
    words = [column if pa.types.is_dictionary(column.type) else column.dictionary_encode() for column in words]
    seconds = table["seconds"] if "seconds" in table.column_names else pa.repeat(0.0, len(table))
    if all(len(column.dictionary) == 1 and column.null_count == 0 for column in words):  # as in every file of one unit
        return {Origin(*(column.dictionary[0].as_py() for column in words)): (len(table), pc.sum(seconds).as_py() or 0.0)}
    known = pa.table([*(column.cast(pa.string()) for column in words), seconds], [*COLUMNS, "seconds"])
    groups = known.group_by(list(COLUMNS)).aggregate([([], "count_all"), ("seconds", "sum")]).to_pylist()
    images, time = Counter[Origin](), defaultdict[Origin, float](float)
    for row in groups:  # a null and an empty text are one origin
        origin = Origin(*(row[name] or "" for name in COLUMNS))
        images[origin] += row["count_all"]
        time[origin] += row["seconds_sum"] or 0.0
    return {origin: (count, time[origin]) for origin, count in images.items()}


def batches(url: str, columns: Sequence[str], cells: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Yield what `rows.batches` does, with the columns of COLUMNS too, and warn at the end if rows have several origins."""
    found = Counter[Origin]()
    for batch in rows.batches(url, list(dict.fromkeys([*columns, *COLUMNS])), cells):
        found += counted(batch)
        yield batch
    warn(found)


def warn(origins: Origins) -> None:
    """Give a StoreWarning for each line of `mixed`."""
    for line in mixed(origins):
        warnings.warn(line, StoreWarning, stacklevel=2)


def mixed(origins: Origins) -> Iterator[str]:
    """Yield a line that names the commits of some rows, and one that names their environments, if there are several."""
    commits = _total(origins, lambda origin: origin.commit)
    if len(commits) > 1:
        yield f"rows of {len(commits)} commits are mixed: {_listed(commits)}"
    parts = _environments(origins)
    if parts:
        yield f"rows of different environments are mixed: {'; '.join(f'{name} {_listed(n)}' for name, n in parts.items())}"


def named(origins: Origins) -> dict[str, list[str]]:
    """Return the commits, the devices and the versions of LIBRARIES that rows were made with, sorted, by name."""
    parts = {"commit": _total(origins, lambda origin: origin.commit), "device": _total(origins, lambda origin: origin.device)}
    parts |= {name: _total(origins, lambda origin, of=name: _versions(origin.versions).get(of, "")) for name in LIBRARIES}
    return {name: sorted(map(_short, counts)) for name, counts in parts.items() if counts}


def before_run(store: Store, commit: str, versions: str) -> Iterator[str]:
    """Yield what this code will mix with, a line each, as SAMPLE files of rows and as many checkpoints show.

    commit, versions    of the running code, as rows hold them
    """
    found = Counter(dict.fromkeys(_sample(store), 0))
    here = Origin(commit, versions, "")
    others = {origin.commit for origin in found} - {commit, ""}
    if others:
        yield f"the store has rows of commit {_names(others)}, this is commit {_short(commit)}: they will be mixed"
    changed = _environments({**found, here: 0})
    for name in LIBRARIES:
        if name in changed:
            now = _versions(versions).get(name, "absent")
            yield f"the store has rows made with {name} {_names(set(changed[name]) - {now})}, this is {now}: they will be mixed"
    others = set(_checkpointed(store)) - {commit, ""}
    if others:
        yield f"this run goes on from checkpoints of commit {_names(others)}, this is commit {_short(commit)}"


def _sample(store: Store) -> Iterator[Origin]:
    """Yield the origins in up to SAMPLE files of rows."""
    for name in store.some(SAMPLE):
        with suppress(BadInput, FileNotFoundError), store.open(name) as file:  # a damaged file is named when rows are read
            yield from counted(pa.Table.from_batches(rows.read(file, name, COLUMNS)))


def _checkpointed(store: Store) -> Iterator[str]:
    """Yield the commits in up to SAMPLE checkpoints."""
    for entry, _ in zip(store.scan("checkpoints/*.safetensors"), range(SAMPLE), strict=False):
        data = store.read(entry.name, checkpoints.HEADER_BYTES)
        head = checkpoints.header(data, entry.name) if data else None
        if head:
            yield head.commit


def _environments(origins: Origins) -> dict[str, Counter[str]]:
    """Return, for each library and the device of which there are several, how many rows have each."""
    parts = {name: _total(origins, lambda origin, of=name: _versions(origin.versions).get(of, "")) for name in LIBRARIES}
    parts["device"] = _total(origins, lambda origin: origin.device)
    return {name: counts for name, counts in parts.items() if len(counts) > 1}


def _total(origins: Origins, part: Any) -> Counter[str]:
    """Return how many rows have each value of a part of their origin, without those where it is unknown."""
    found = Counter[str]()
    for origin, count in origins.items():
        if part(origin):
            found[part(origin)] += count
    return found


def _versions(text: str) -> dict[str, str]:
    return json.loads(text) if text else {}


def _short(value: str) -> str:
    """Return a commit with 12 digits, and its `+` if files differed from it; any other text as it is."""
    return re.sub(r"^([0-9a-f]{12})[0-9a-f]{28}(\+?)$", r"\1\2", value)


def _names(values: Iterable[str]) -> str:
    return ", ".join(sorted(map(_short, values)))


def _listed(counts: Counter[str]) -> str:
    """Return the values with their rows, most first: 'a1b2 (1,200 rows), c3d4 (16 rows)'."""
    return ", ".join(f"{_short(value)} ({count:,} rows)" for value, count in counts.most_common())
