"""Check whole barrages in kernels against the eager definition, in Triton's interpreter."""

import pytest

from tests.support.contracts.kernels import assert_interpreted

pytest.importorskip("triton")
