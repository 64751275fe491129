"""One row per (cell, image): the schema of the Parquet files, each column documented, and nothing else."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

CLASSES = pa.list_(pa.int32(), 5)
"""Five classes, likeliest first; -1 where a model has fewer."""

CELL = pa.dictionary(pa.int32(), pa.string())
"""As readers type the folder `cell=...`, so that the column and the folder agree."""

_COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("image_key", pa.string(), "key of the sample in its shard; with `cell` it names the row"),
    ("shard", pa.string(), "file name of the shard, without .tar"),
    ("label", pa.int32(), "the right class; null where the sample has none"),
    ("target", pa.int32(), "the class a targeted attack wants; null where untargeted"),
    ("cell", CELL, "(model, defense, attack) of the campaign"),
    ("model", pa.string(), "name of the model in the campaign"),
    ("defense", pa.string(), "name of the defense in the campaign"),
    ("k", pa.int32(), "transforms of one barrage"),
    ("attack", pa.string(), "name of the attack in the campaign"),
    ("policy", pa.string(), "how transforms were differentiated (bart.bpda.policies.POLICIES); none: without gradients"),
    ("networks", pa.string(), "hash of the BPDA networks that the attack had; null: none"),
    ("mode", pa.string(), "strongest: the whole budget for every image; first_break: an image left once it was won"),
    ("frozen", pa.bool_(), "whether the defense's randomness was taken out, for a check"),
    ("norm", pa.string(), "norm of the ball"),
    ("eps", pa.float64(), "radius of the ball, images in [0, 1]"),
    ("steps", pa.int32(), "steps of the attack"),
    ("eot_draws", pa.int32(), "draws per gradient"),
    ("evaluation_draws", pa.int32(), "fresh draws that judged the clean and the adversarial image, each"),
    ("status", pa.string(), "ok, or why the image was not attacked: bad_image, bad_label, bad_shard"),
    ("error", pa.string(), "what was wrong, in words; null if ok"),
    ("clean_top5", pa.list_(CLASSES), "per evaluation draw, the five classes of the clean image"),
    ("adv_top5", pa.list_(CLASSES), "per evaluation draw, the five classes of the stored example"),
    ("clean_mean_top5", CLASSES, "the five classes of the mean probability over draws, clean"),
    ("adv_mean_top5", CLASSES, "the five classes of the mean probability over draws, stored example"),
    ("clean_correct", pa.int32(), "draws whose first class is the label, clean"),
    ("adv_correct", pa.int32(), "draws whose first class is the label, stored example"),
    ("clean_top5_correct", pa.int32(), "draws whose five classes hold the label, clean"),
    ("adv_top5_correct", pa.int32(), "draws whose five classes hold the label, stored example"),
    ("target_hits", pa.int32(), "draws whose first class is the target, stored example; null where untargeted"),
    ("linf", pa.float64(), "L-inf distance of the stored 8-bit example"),
    ("l2", pa.float64(), "L2 distance of the stored 8-bit example"),
    (
        "first_break",
        pa.int32(),
        "step after which the image left because it was won; null: it ran to the end; 0: it was "
        "misclassified without an attack, none was spent (skip_misclassified), and its example is the image itself",
    ),
    ("nonfinite_gradients", pa.int32(), "steps whose gradient held NaN or Inf"),
    ("zero_gradients", pa.int32(), "steps whose gradient was zero everywhere"),
    ("grad_evals", pa.int64(), "draw-gradients spent on this image"),
    ("forward_evals", pa.int64(), "draws judged without a gradient"),
    ("seconds", pa.float64(), "this image's share of its unit's time"),
    ("device", pa.string(), "what it ran on"),
    ("seed", pa.int64(), "seed of the campaign"),
    ("unit", pa.string(), "the unit, and name of the file"),
    ("campaign", pa.string(), "identity of the campaign as far as it decides this cell: cell, model, data, seed"),
    ("commit", pa.string(), "version of the code"),
    ("versions", pa.string(), "JSON: Python and libraries that decide numbers"),
]

SCHEMA = pa.schema([pa.field(name, kind, metadata={"description": text}) for name, kind, text in _COLUMNS])
"""The columns, in order; each field's metadata holds its description."""

MEASURED = ("seconds", "device", "commit", "versions")
"""Columns that tell how a run went; all others are decided by the campaign."""


DAMAGED = pa.ArrowException, OSError, ValueError
"""What reading a Parquet file raises that is not as it was written; ValueError: its names are no text."""

KEY = b"barrage"
"""Of the provenance in the metadata of a file."""


def encode(rows: Sequence[dict[str, Any]], provenance: dict[str, Any]) -> bytes:
    """Rows as one Parquet file, zstd; missing columns are null, unknown ones an error. Provenance goes to the metadata."""
    unknown = {name for row in rows for name in row} - set(SCHEMA.names)
    assert not unknown, f"rows hold columns that the schema lacks: {unknown}"
    schema = SCHEMA.with_metadata({KEY: json.dumps(provenance, sort_keys=True)})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
