"""Estimate what an image of a cell costs: the one model that planning, the time left and the quote of a campaign share.

The unit of work is the draw-gradient: one draw of the defense, forward and backward to the input, of one image. Assumptions:

1. A draw without a gradient costs FORWARD of a draw-gradient. The backward pass to the input has about as many multiplications
   as the forward pass, and it reads what the forward pass stored, so with a gradient a draw costs two to three times as much.
2. Each transform of a barrage costs TRANSFORM of a draw-gradient of the undefended model: the step of a barrage of k takes
   1 + k * TRANSFORM as long. The committed measurements (docs/results: h100.txt, attack-cpu.txt, and the rows of table1-small
   and figure4-small) lie within a factor of 1.75 of that: 0.08 on an H100 with a ResNet50, 0.2 on two CPU cores with an
   EfficientNet-Lite0, up to 0.4 there with a ResNet18 of 32 px. tests/pipeline/planning/test_cost.py holds it to them.
3. Both verdicts, clean and adversarial, are draws without a gradient.

The second assumption only compares cells that were not measured. Where a rate was measured behind a cell's own barrage, it
holds the cost of the transforms already.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config.campaign import Cell

FORWARD = 1 / 3
"""Cost of a draw without a gradient, in draw-gradients."""

TRANSFORM = 1 / 5
"""Cost of one transform, in draw-gradients of the undefended model."""


def draw_gradients(gradients: float, forwards: float) -> float:
    """Return the work of `gradients` draws with a gradient and `forwards` draws without, in draw-gradients."""
    return gradients + FORWARD * forwards


def weight(gradients: float, forwards: float, k: float) -> float:
    """Return the same work behind a defense that costs as much as k transforms, in draw-gradients of the undefended model."""
    return draw_gradients(gradients, forwards) * (1 + TRANSFORM * k)


def of_attack(cell: "Cell") -> float:
    """Return the work of attacking one image, in draw-gradients behind the cell's barrage, without the verdicts."""
    return draw_gradients(cell.cost.gradients, cell.cost.forwards)


def of_image(cell: "Cell") -> float:
    """Return the work of one image, in draw-gradients behind the cell's barrage, with both verdicts."""
    return draw_gradients(cell.cost.gradients, cell.draws_judged)


def seconds_an_image(cell: "Cell", rate: float) -> float:
    """Return the seconds that one worker takes for an image, at `rate` draw-gradients a second behind the cell's barrage."""
    return of_image(cell) / rate


def cell_weight(cell: "Cell") -> float:
    """Return the work of one image with both verdicts, in draw-gradients of the undefended model."""
    return weight(cell.cost.gradients, cell.draws_judged, cell.defense.cost)


def forward_rate(rate: float) -> float:
    """Return how many draws without a gradient a device does a second, from its `rate` of draw-gradients a second."""
    return rate / FORWARD
