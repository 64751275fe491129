"""Compare cells of one store or of several on the images that all of them attacked.

paired        two lists of shares: difference, interval, exact test
sides         which cells are compared, from STORE and STORE::CELL
measured      what is read of a cell
same_images   the images that both have; other images or labels under the same names are refused
settings      what differs between the cells, and what spoils a comparison
details       images that changed sides, classes
parts         draws that have a transform
cells         `comparison` and `comparisons`
text          the tables that are shown
verdicts      whether the second is worse, for programs
"""

from pipeline.analysis.comparison.cells import CellComparison, Comparisons, comparison, comparisons
from pipeline.analysis.comparison.paired import Comparison, compare
from pipeline.analysis.comparison.sides import Side
from pipeline.analysis.comparison.verdicts import Verdict, verdict

__all__ = [
    "CellComparison",
    "Comparison",
    "Comparisons",
    "Side",
    "Verdict",
    "compare",
    "comparison",
    "comparisons",
    "verdict",
]
