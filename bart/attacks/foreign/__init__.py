"""Bring in what others made: attacks of other libraries, and finished examples.

`fresh_draws` shows a defended classifier to other libraries as a plain module; `external` runs a function of theirs as an
attack; `given` takes examples that are finished.
"""

from bart.attacks.foreign.external import External
from bart.attacks.foreign.fresh_draws import FreshDraws
from bart.attacks.foreign.given import DISTANCE, Given

__all__ = ["DISTANCE", "External", "FreshDraws", "Given"]
