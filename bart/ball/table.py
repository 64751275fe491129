"""List the norms by name."""

from bart.ball.dense import L2, LINF
from bart.ball.norm import Norm
from bart.ball.sparse import L0, L1

NORMS: dict[str, Norm] = {"linf": LINF, "l2": L2, "l1": L1, "l0": L0}
"""Norms by name."""
