"""Define the Parquet files of rows, one row per (cell, image): their columns, each documented, and their format."""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.errors import BadInput
from pipeline.scoring import decided
from pipeline.scoring.decided import DECIDED
from pipeline.store import formats
from pipeline.store.footers import Writer

CLASSES = pa.list_(pa.int32(), 5)
"""Five classes, likeliest first; -1 where a model has fewer."""

WORDS = pa.dictionary(pa.int32(), pa.string())
"""Strings, each word once: how rows are read, and how the column `cell` was written before all files lay in one folder."""

_COLUMNS: list[tuple[str, pa.DataType, str]] = [
    ("image_key", pa.string(), "key of the sample in its shard; with `cell` and `shard` it names the row"),
    ("shard", pa.string(), "file name of the shard, without .tar"),
    ("label", pa.int32(), "the right class; null where the sample has none"),
    ("target", pa.int32(), "the class a targeted attack wants; null where untargeted"),
    ("cell", pa.string(), "(model, defense, attack) of the campaign"),
    ("model", pa.string(), "name of the model in the campaign"),
    ("defense", pa.string(), "name of the defense in the campaign"),
    ("k", pa.int32(), "transforms of one barrage"),
    ("attack", pa.string(), "name of the attack in the campaign"),
    ("policy", pa.string(), "how transforms were differentiated (bart.bpda.policies.POLICIES); none: without gradients"),
    ("networks", pa.string(), "hash of the BPDA networks that the attack had; null: none"),
    ("mode", pa.string(), "strongest: the whole budget for every image; first_break: an image left once it was won"),
    ("frozen", pa.bool_(), "whether the defense's randomness was taken out, for a check"),
    (
        "clamps",
        pa.string(),
        "derivative of `clamp` at its bounds in code of others: straight-through, which is 1, or torch, its own; null: none",
    ),
    ("norm", pa.string(), "norm of the ball"),
    ("eps", pa.float64(), "radius of the ball, images in [0, 1]; a number of values in l0"),
    ("steps", pa.int32(), "steps of the attack; 1: it is one call without a checkpoint inside, as of kind external; 0: none"),
    ("eot_draws", pa.int32(), "draws per gradient"),
    ("evaluation_draws", pa.int32(), "fresh draws that judged the clean and the adversarial image, each"),
    (
        "status",
        pa.string(),
        "ok, or why the image was not attacked: bad_example, bad_image, bad_key, bad_label, bad_shard, failed",
    ),
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
        "given_distance",
        pa.float64(),
        "distance in `norm` of an example of others, in 8 bits as it was given; more than eps: it was moved into the ball; "
        "null: barrage made it",
    ),
    ("smoothed_class", pa.int32(), "class that most draws of the certificate say; null: no certificate was asked for"),
    ("smoothed_votes", pa.int32(), "draws that say it, of other draws than those that chose it"),
    ("smoothed_draws", pa.int32(), "number of these draws"),
    ("certified_radius", pa.float64(), "L2 radius in which the smoothed classifier says smoothed_class; null: it abstains"),
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
    (
        "clean_margin",
        pa.float64(),
        "mean probability of the label over the draws, minus that of the likeliest other class, in [-1, 1], clean; null: "
        "no label, or a logit that is not finite",
    ),
    ("adv_margin", pa.float64(), "the same of the stored example"),
    (
        "gradient_norm",
        pa.float64(),
        "mean L2 norm of the finite gradients that the attack followed, one a step, in the unit of its loss, pixels in [0, 1]; "
        "of estimates in spsa, of means of unit gradients where draws have those; null: it took none, or not all were measured",
    ),
    (
        "clean_right",
        pa.int32(),
        "what the draws together are right in, clean, as a sum: 1 the class with the most votes is the label, 2 the label is "
        "among the five with the most; 4 the first class of the mean probability is the label, 8 the label is among its five",
    ),
    ("adv_right", pa.int32(), "the same of the stored example"),
]

SCHEMA = pa.schema([pa.field(name, kind, metadata={"description": text}) for name, kind, text in _COLUMNS])
"""The columns, in order; each field's metadata holds its description."""

MEASURED = ("seconds", "device", "commit", "versions")
"""Columns that tell how a run went; all others are decided by the campaign."""

NEEDED = frozenset(
    (
        "image_key", "label", "cell", "model", "defense", "k", "attack", "evaluation_draws", "status", "clean_top5", "adv_top5",
        "clean_mean_top5", "adv_mean_top5", "clean_correct", "adv_correct", "clean_top5_correct", "adv_top5_correct",
        "grad_evals", "seconds", "unit",
    )
)  # fmt: skip
"""Columns that every file has: without one of them, no table can be made. Any other that an earlier format lacks is null."""

LATEST = frozenset(("clean_margin", "adv_margin", "gradient_norm"))
"""Columns that came within format 2: a file of it may lack them, and they may be null where a checkpoint lacked them."""

LATER = LATEST | frozenset(
    (*DECIDED, "clamps", "given_distance", "smoothed_class", "smoothed_votes", "smoothed_draws", "certified_radius")
)  # fmt: skip
"""Columns that release 0.1 did not write: a file without them may be its own. There they are null, or follow from others."""

SOURCE = pa.field("file_sha256", pa.string(), metadata={"description": "SHA-256 of the file in results/ that holds the row"})
"""The column that a sealed copy has besides those of SCHEMA."""

_KNOWN = frozenset((*SCHEMA.names, SOURCE.name))

DAMAGED = pa.ArrowException, OSError, ValueError
"""What reading a damaged Parquet file raises; ValueError: its names are no text."""

KEY = b"barrage"
"""Of the provenance and the format in the metadata of a file."""


def encode(rows: Sequence[dict[str, Any]], provenance: dict[str, Any]) -> bytes:
    """Return rows as one Parquet file. Missing columns are null, unknown ones an error. Metadata hold the provenance.

    What follows from other columns, those of `decided.DECIDED`, is computed from them.
    """
    unknown = {name for row in rows for name in row} - set(SCHEMA.names)
    assert not unknown, f"rows hold columns that the schema lacks: {unknown}"
    table = decide(pa.Table.from_pylist(list(rows), schema=SCHEMA.with_metadata(metadata(provenance))))
    buffer = io.BytesIO()
    with Writer(buffer, table.schema) as writer:
        writer.write(table)
    return buffer.getvalue()


def decide(table: pa.Table) -> pa.Table:
    """Return rows with all columns of SCHEMA, those of `decided.DECIDED` computed from the others."""
    for name in DECIDED:
        table = table.set_column(table.schema.names.index(name), table.schema.field(name), decided.column(table, name))
    return table


def metadata(provenance: Mapping[str, Any]) -> dict[bytes, str]:
    """Return the metadata of a file of rows: its provenance and the stamp of this release."""
    return {KEY: json.dumps(formats.stamp() | dict(provenance), sort_keys=True)}


def provenance(found: pa.Schema) -> dict[str, Any]:
    """Return what the metadata of a file say; nothing for a file of another program."""
    try:
        content = json.loads((found.metadata or {}).get(KEY, b"{}"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def present(found: pa.Schema, columns: Sequence[str], path: str) -> list[str]:
    """Return those of `columns` that a file has; the others are null in its rows.

    Warns of columns that this release does not know. Raises BadInput for a later format, a column of another type, and a file
    that lacks a column of NEEDED, or lacks any and holds unknown ones besides: it is damaged, or of another program.
    """
    number, names = formats.check(path, provenance(found)), frozenset(found.names)
    unknown, kept = sorted(names - _KNOWN), [name for name in columns if name in names]
    for name in columns if len(kept) < len(columns) else ():
        if name not in names and name not in LATER and (name in NEEDED or unknown):
            raise BadInput(f"{path} lacks the column {name}, which format {number} has: another program wrote it; restore it")
    for name in kept:
        kind, expected = found.field(name).type, SCHEMA.field(name).type
        if kind != expected and (kind, expected) != (WORDS, pa.string()):
            raise BadInput(
                f"{path} has {kind} in the column {name}, expected {expected} in format {number}, "
                f"which release {formats.RELEASES[number]} wrote: another program made it; restore it, or run in a new store"
            )
    if unknown:
        text = f"files of rows hold columns that this release does not know, which are ignored: {', '.join(unknown)}"
        warnings.warn(text, formats.StoreWarning, stacklevel=2)
    return kept
