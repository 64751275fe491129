"""The curves of a training: loss and accuracy along its steps, as tensors while it runs and as Parquet once it is done."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

FILE = "curves.parquet"


def blank(steps: int, looks: Sequence[int], ks: int, device: torch.device) -> dict[str, Tensor]:
    """Curves of nothing yet, NaN throughout: `loss` and `right` a step, (steps,); `accuracy` a look, (looks, ks)."""
    return {
        "loss": torch.full((steps,), torch.nan, device=device),
        "right": torch.full((steps,), torch.nan, device=device),
        "accuracy": torch.full((len(looks), ks), torch.nan, dtype=torch.float64),
    }


def encode(curve: dict[str, Tensor], looks: Sequence[int], ks: Sequence[int]) -> bytes:
    """A Parquet file, one row a step: `step` (from 1), `loss`, `train_accuracy` of the batch as it was shown, and
    `accuracy_k<k>` on images kept out of training, null where nobody looked."""
    loss, right = curve["loss"].cpu().tolist(), curve["right"].cpu().tolist()
    columns = {"step": pa.array(range(1, len(loss) + 1), pa.int32())}
    columns |= {"loss": pa.array(loss, pa.float32()), "train_accuracy": pa.array(right, pa.float32())}
    for place, k in enumerate(ks):
        found = dict(zip(looks, curve["accuracy"][:, place].tolist(), strict=True))
        columns[f"accuracy_k{k}"] = pa.array([found.get(step) for step in range(1, len(loss) + 1)], pa.float64())
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()
