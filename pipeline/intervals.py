"""Keep the name that release 0.1 documented for `pipeline.scoring.intervals`; deprecated, removed in 0.3."""

import sys
import warnings

from pipeline.scoring import intervals

warnings.warn("pipeline.intervals moved: import pipeline.scoring.intervals", DeprecationWarning, stacklevel=2)
sys.modules[__name__] = intervals
