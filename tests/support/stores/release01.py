"""Stores as release 0.1 left them: files without a format number, and the rows of many units in compacted files."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import safe_open
from safetensors.torch import save

from pipeline.planning.units import of_name
from pipeline.store import checkpoints, schema

STAMP = ("format", "release", "sha256", "decoding")
"""What files say of themselves since."""

CELL = pa.dictionary(pa.int32(), pa.string())
"""The type of the column `cell` before all files of rows lay in one folder."""


def in_folders(folder):
    """Move the rows of each cell into a folder, results/cell=<cell>/, as they lay before; the column `cell` is a dictionary."""
    folder = Path(folder)
    content = yaml.safe_load((folder / "campaign.yaml").read_text())
    names = content["identity"], [Path(shard["url"]).stem for shard in content["shards"]]
    for path in folder.glob("results/*.parquet"):
        moved = folder / f"results/cell={of_name(path.stem, *names).cell}" / path.name
        moved.parent.mkdir(exist_ok=True)
        table = pq.ParquetFile(path).read()
        place = table.schema.get_field_index("cell")
        old = table.schema.field(place).with_type(CELL)
        pq.write_table(
            table.set_column(place, old, table["cell"].cast(CELL)), moved, compression="zstd", write_page_checksum=True
        )
        path.unlink()


def aged(folder):
    """Take the format numbers and hashes out of a store, the norms out of checkpoints, and give each cell's rows a folder."""
    folder = Path(folder)
    in_folders(folder)
    path = folder / "campaign.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if k not in STAMP}, sort_keys=False))
    for part in ("units", "looks", "parked"):
        for path in folder.glob(f"{part}/**/*.json"):
            path.write_text(json.dumps(_unstamped(json.loads(path.read_text()))))
    for path in folder.glob("results/*/*.parquet"):
        rewritten(path)
    for path in folder.glob("checkpoints/*.safetensors"):
        data = path.read_bytes()
        tensors = {name: tensor for name, tensor in checkpoints.decode(data).items() if name != "norms"}
        path.write_bytes(bytes(checkpoints.encode(checkpoints.header(data, path.name), tensors)))
        with safe_open(path, "pt") as file:
            about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {k: v for k, v in _unstamped(json.loads(about["header"])).items() if k != "commit"}
        path.write_bytes(save(tensors, about | {"header": json.dumps(header)}))


def _unstamped(content):
    return {key: value for key, value in content.items() if key not in STAMP}


def rewritten(path, change=lambda table: table, **about):
    """Write a file of rows again after a change, its metadata without a format number, or with those of `about`."""
    table = pq.read_table(path, partitioning=None)
    found = json.loads((table.schema.metadata or {}).get(schema.KEY, b"{}"))
    table = change(table).replace_schema_metadata({schema.KEY: json.dumps(_unstamped(found) | about)})
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def compacted(folder, cell, keep=0):
    """Merge a cell's unit files into one, as `barrage compact` of release 0.1 did; `keep` of them stay, as if it was killed."""
    in_folders(folder)
    paths = sorted((Path(folder) / f"results/cell={cell}").glob("*--*.parquet"))
    number = len(list(paths[0].parent.glob("compacted-*")))
    listed = Path(folder) / f"compacted/cell={cell}/{number:06d}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("\n".join(path.stem for path in paths))
    tables = [pq.ParquetFile(path).read() for path in paths]
    about = tables[0].schema.metadata
    merged = pa.concat_tables([table.replace_schema_metadata(None) for table in tables]).unify_dictionaries().combine_chunks()
    file = paths[0].parent / f"compacted-{number:06d}.parquet"
    options = {"compression": "zstd", "write_page_checksum": True, "row_group_size": 32_768}
    pq.write_table(merged.replace_schema_metadata(about), file, **options)
    for path in paths[: len(paths) - keep]:
        path.unlink()
    return file
