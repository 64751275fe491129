"""Write synthetic stores as a static export, as scripts/source/static.js of the page describes it."""

import base64
import io
import json
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.view.page import files
from tests.support.page import answers
from tests.support.page.drawn import png
from tests.support.page.server import head

CHUNKS = 4
WHATS = ("clean", "adversarial", "difference")


def chunk(text, chunks):
    """FNV-1a with 32 bits of the UTF-8 of a text, modulo `chunks`."""
    found = 0x811C9DC5
    for byte in text.encode():
        found = (found ^ byte) * 0x01000193 & 0xFFFFFFFF
    return found % chunks


def export(folder, store, pictured):
    """Write an export of one store into a folder; its first `pictured` images have pictures and draws."""
    data, database = {}, answers.connected(store.rows)
    first, second = [cell["cell"] for cell in store.cells[:2]]
    keys = [(shard, key) for shard, key in zip(store.rows_of(first)["shard"], store.rows_of(first)["image_key"], strict=True)][
        :pictured
    ]
    chunks = defaultdict(dict)
    for shard, key in keys:
        name = f"{shard}/{key}"
        found = answers.image(store, database, shard, key)
        chunks[chunk(name, CHUNKS)][name] = found
        for row in found["rows"]:
            if row["status"] == "ok":
                data[f"draws-{store.id}-{row['picture']}"] = made = answers.draws(store, database, row["cell"], shard, key)
                draws = [f"{side}-draw-{one['draw']}" for side in ("clean", "adversarial") for one in made[side]]
                for what in (*WHATS, *draws):
                    path = folder / "pictures" / store.id / f"{row['picture']}-{what}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(png(key, row["cell"], what))
    there = {int(name.rpartition("-")[2]) for name in data}
    kept = pa.array([number if number in there else None for number in store.rows["picture"].to_pylist()], pa.int32())
    rows = store.rows.set_column(store.rows.column_names.index("picture"), "picture", kept)
    data |= {f"image-{store.id}-{n}": chunks[n] for n in range(CHUNKS)}
    data["compare-0"] = answers.compare(store, first, store, second, "single", "1")
    data[f"errors-{store.id}-0"] = answers.errors(store, first, "single", "1")
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", row_group_size=700)
    data[f"rows-{store.id}"] = base64.b64encode(buffer.getvalue()).decode()
    static = {"rows": {store.id: f"rows-{store.id}"}, "images": {store.id: CHUNKS},
              "compare": [[store.id, first, store.id, second, "single", 1, "compare-0"]],
              "errors": [[store.id, first, "single", 1, f"errors-{store.id}-0"]]}  # fmt: skip
    data["stores"] = head(1, False) | {"stores": [store.content], "static": static}
    written = {
        f"data/{name}.js": f"view.data({json.dumps(name)}, {json.dumps(value)});".encode() for name, value in data.items()
    }
    for name, content in (files(live=False) | written).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "index.html"
