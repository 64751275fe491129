"""Keep the curves of a training, loss and accuracy along its steps: as tensors while it runs, as Parquet once it is done."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pipeline.store.layout import Store

FILE = "curves.parquet"
PICTURE = "curves.png"


def blank(steps: int, evaluations: int, ks: int, device: torch.device) -> dict[str, Tensor]:
    """Return empty curves, NaN throughout: `loss` and `right` of each step, (steps,); `accuracy`, (evaluations, ks)."""
    return {
        "loss": torch.full((steps,), torch.nan, device=device, dtype=torch.float32),
        "right": torch.full((steps,), torch.nan, device=device, dtype=torch.float32),
        "accuracy": torch.full((evaluations, ks), torch.nan, dtype=torch.float64, device="cpu"),
    }


def encode(curve: dict[str, Tensor], evaluations: Sequence[int], ks: Sequence[int]) -> bytes:
    """Return the curves as a Parquet file, one row a step.

    Columns: `step` (from 1), `loss`, `train_accuracy` of the batch as it was shown, and `accuracy_k<k>` on images held out of
    training, null after steps without an evaluation. `evaluations` are the steps with one.
    """
    loss, right = curve["loss"].cpu().tolist(), curve["right"].cpu().tolist()
    columns = {"step": pa.array(range(1, len(loss) + 1), pa.int32())}
    columns |= {"loss": pa.array(loss, pa.float32()), "train_accuracy": pa.array(right, pa.float32())}
    for place, k in enumerate(ks):
        shares = dict(zip(evaluations, curve["accuracy"][:, place].tolist(), strict=True))
        columns[f"accuracy_k{k}"] = pa.array([shares.get(step) for step in range(1, len(loss) + 1)], pa.float64())
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def draw(folder: str) -> bool:
    """Draw the picture of the curves in a folder, beside them. Returns False without matplotlib."""
    data = Store(folder).read(FILE)
    png = picture(data) if data else None
    if png:
        Store(folder).replace(PICTURE, png)
    return png is not None


def picture(data: bytes) -> bytes | None:
    """Return the curves of a file as a PNG: running means over a hundredth of the steps; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    table = pq.read_table(io.BytesIO(data))
    step = table["step"].to_numpy()
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(step, _smooth(table["loss"].to_numpy()), color="tab:gray")
    left.set(xlabel="step", ylabel="loss", xlim=(0, len(step)))
    right.plot(step, 100 * _smooth(table["train_accuracy"].to_numpy()), color="tab:gray", label="training, as shown")
    for name in table.column_names:
        if name.startswith("accuracy_k"):
            share = table[name].to_numpy(zero_copy_only=False).astype(float)
            known = ~np.isnan(share)
            label = f"held out, k = {name.removeprefix('accuracy_k')}"
            right.plot(step[known], 100 * share[known], marker=".", label=label)
    right.set(xlabel="step", ylabel="accuracy in %", xlim=(0, len(step)), ylim=(0, 100))
    right.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _smooth(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return running means over a hundredth of the values, (n,); NaN values are left out."""
    window = np.ones(max(1, len(values) // 100))
    known = ~np.isnan(values)
    count = np.convolve(known, window, "same")
    return np.convolve(np.where(known, values, 0), window, "same") / np.where(count > 0, count, np.nan)
