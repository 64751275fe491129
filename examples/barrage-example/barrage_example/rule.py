"""A decision by two thirds: an image counts as right if at least two thirds of its draws are."""

import numpy as np
import pyarrow as pa

from pipeline.scoring.rules import Rule, Shares, single


def two_thirds(rows: pa.Table, side: str, top: int) -> Shares:
    """Return 1 for rows of which at least two thirds of the draws are right, else 0, (n,)."""
    return (single(rows, side, top) >= 2 / 3 - 1e-9).astype(np.float64)


TWO_THIRDS = Rule(
    two_thirds, ("evaluation_draws", "{}_correct", "{}_top5_correct"), "Right if at least two thirds of the draws are."
)
