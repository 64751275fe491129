"""Answer the questions of notebooks, figures and the report about one store or several.

    from pipeline import analysis
    scores = analysis.scores("demo/store")                    # one line per image and cell, how right it is in [0, 1]
    analysis.accuracy(scores)                                 # clean and attacked, with 95 % intervals over images
    analysis.compare(scores[scores.cell == "a"], scores[scores.cell == "b"])
    print(analysis.comparison("stores/a", "stores/b::cell"))  # two cells with all that their difference rests on

Functions take and return pandas frames; a comparison has several. Rates, and the `_low` and `_high` ends of their 95 %
intervals, are in [0, 1]. Eps and distances are of images in [0, 1], times are seconds or hours of a device, costs are
draw-gradients.
"""

from pipeline.analysis import errors
from pipeline.analysis.accuracy import WORDS, accuracy, curve, per_class, per_image, persistence, series, worst_case
from pipeline.analysis.certificates import certified
from pipeline.analysis.comparison import (
    CellComparison,
    Comparison,
    Comparisons,
    Side,
    Verdict,
    compare,
    comparison,
    comparisons,
    verdict,
)
from pipeline.analysis.frames import IMAGE, results, scores, table
from pipeline.analysis.runs import checks, class_names, failures, machines, settings
from pipeline.analysis.transforms import by_transform

__all__ = [
    "IMAGE",
    "WORDS",
    "CellComparison",
    "Comparison",
    "Comparisons",
    "Side",
    "Verdict",
    "accuracy",
    "by_transform",
    "certified",
    "checks",
    "class_names",
    "compare",
    "comparison",
    "comparisons",
    "curve",
    "errors",
    "failures",
    "machines",
    "per_class",
    "per_image",
    "persistence",
    "results",
    "scores",
    "series",
    "settings",
    "table",
    "verdict",
    "worst_case",
]
