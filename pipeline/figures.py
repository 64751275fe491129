"""Keep the name that release 0.1 documented for `pipeline.reports.figures`; deprecated, removed in 0.3."""

import sys
import warnings

from pipeline.reports import figures

warnings.warn("pipeline.figures moved: import pipeline.reports.figures", DeprecationWarning, stacklevel=2)
sys.modules[__name__] = figures
