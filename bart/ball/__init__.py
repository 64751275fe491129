"""Define the ball around an image: where an attack starts, how it steps, and which image is stored.

Other rooms use the names in `__all__`.
"""

from bart.ball.ball import Ball
from bart.ball.norm import Norm, levelled
from bart.ball.sparse import project_l1
from bart.ball.table import NORMS

__all__ = ["NORMS", "Ball", "Norm", "levelled", "project_l1"]
