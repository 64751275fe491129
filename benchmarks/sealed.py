"""Compare reads of many small unit files, of their sealed copy, and of release 0.1's compacted files.

    python -m benchmarks.sealed

The same rows in three layouts, read in turns in one process: the columns of `barrage table`, the table itself, and all columns
of one cell. The peer is release 0.1, whose compacted layout is made as it made it, and read through the module that reads such
stores. Every file was just written, so reads seldom wait for the disk. On a bucket, large files would gain more.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.campaign import Cell, parse
from pipeline.planning.units import Unit
from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES
from pipeline.store import committed, schema
from pipeline.store.export import export
from pipeline.store.layout import Store
from pipeline.store.rows import batches, results
from pipeline.store.sealed import seal
from tests.support.stores import release01, synthetic

CELLS, IMAGES, TURNS = 4, 8, 3


def cells() -> list[Cell]:
    """Return the cells of the store: a network behind four barrages, 20 evaluation draws."""
    return list(parse(synthetic.campaign([1, 3, 5, 10], {"pgd": {"kind": "pgd", "eps": "8/255"}}), "sealed").grid())


def fill(folder: Path, units: int) -> None:
    """Write `units` unit files, of eight rows each."""
    for cell in cells():
        images = units // CELLS * IMAGES
        rows = synthetic.table(cell, Unit(cell.name, "val-000000", 0, images), images)
        place = schema.SCHEMA.names.index("unit")
        for start in range(0, images, IMAGES):
            unit = Unit(cell.name, "val-000000", start, start + IMAGES)
            name = pa.repeat(pa.scalar(unit.name), IMAGES)
            found = rows.slice(start, IMAGES).set_column(place, schema.SCHEMA.field("unit"), name)
            path = folder / Store(folder).results(unit)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(
                found.replace_schema_metadata(schema.metadata({})), path, compression="zstd", write_page_checksum=True
            )


READS: dict[str, Callable[[str], object]] = {
    "columns of a table": lambda store: sum(len(rows) for rows in batches(store, summaries.columns(["single"]))),
    "table, every rule": lambda store: summaries.lines(batches(store, summaries.columns(RULES)), RULES),
    "one cell, all columns": lambda store: results(store, None, [cells()[0].name]),
}
"""The timed reads, {name: function of the store}."""


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of some work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(folder: Path, units: int) -> None:
    """Print the seconds of each read in each layout, and their ratios."""
    plain, sealed, compacted = (folder / name for name in ("plain", "sealed", "compacted"))
    print(f"{units:,} unit files of {IMAGES} rows in {CELLS} cells, written in {seconds(lambda: fill(plain, units)):.1f} s")
    for copy in (sealed, compacted):
        shutil.copytree(plain, copy, copy_function=os.link)
    made = seconds(lambda: [seal(Store(sealed), cell) for cell in committed.sources(Store(sealed))])
    size = sum(path.stat().st_size for path in sealed.glob("sealed/*")) / sum(
        p.stat().st_size for p in plain.rglob("*.parquet")
    )
    print(f"sealed in {made:.1f} s, {100 * size:.0f} % of the size")
    for cell in committed.sources(Store(compacted)):
        release01.compacted(compacted, cell)
    for name, read in READS.items():
        turns = [[seconds(lambda: read(str(store))) for store in (plain, sealed, compacted)] for _ in range(TURNS)]  # noqa: B023
        before, after, former = (min(column) for column in zip(*turns, strict=True))
        print(
            f"{name:22s} unit files {before:6.2f} s, sealed {after:6.2f} s, release 0.1 compacted {former:6.2f} s: sealed is "
            f"{before / after:5.1f} x as fast as unit files, {former / after:4.2f} x as fast as compacted ones"
        )
    print(f"exported in {seconds(lambda: export(str(sealed), folder / 'rows.parquet')):.1f} s from the sealed copy")


def main() -> None:
    """Run the comparison in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=10_000, help="unit files; 100,000 take 1.5 GB and some minutes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), asked.units)


if __name__ == "__main__":
    main()
