"""Say which tests need a processor with 16-bit instructions: torch rounds oftener where they are missing."""

import pytest
import torch

from bart.classifier import native_half

native_only = pytest.mark.skipif(
    native_half(torch.device("cpu")) is None, reason="this processor has no bf16, so torch's own gradient is another one"
)
