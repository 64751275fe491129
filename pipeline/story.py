"""Keep the name that release 0.1 documented for `pipeline.reports.image_trace`; deprecated, removed in 0.3."""

import sys
import warnings

from pipeline.reports import image_trace

warnings.warn("pipeline.story moved: import pipeline.reports.image_trace", DeprecationWarning, stacklevel=2)
sys.modules[__name__] = image_trace
