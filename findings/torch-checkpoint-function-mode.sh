#!/usr/bin/env bash
# torch 2.14.1: a TorchFunctionMode around forward and backward is not there when checkpointed code is computed again.
#
# Seen: a mode that answers `torch.rand` with numbers of its own (0.25) is entered around `checkpoint` and around `torch.autograd.grad`.
# The output is (0.25 x)^2. At x = 1 its gradient is 0.125 without checkpoint, and with it that of a number of the plain generator.
# Expected: the gradient of what was computed. The page of torch.utils.checkpoint says that the backward pass runs the function again and
# that what differs from the first run may change the gradient; it keeps random state and autocast for that. `torch.autograd.grad` is
# itself answered through the mode, and modes are off inside their own answer, so the second run happens without it, in silence.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1
venv/bin/python - <<'PYTHON'
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint


class Fixed(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return torch.tensor(0.25) if func is torch.rand else func(*args, **(kwargs or {}))


def scaled(x: torch.Tensor) -> torch.Tensor:
    factor = torch.rand(())
    return (x * factor).square()  # the backward pass needs x * factor, and computes it again


def slope(again: bool) -> float:
    x = torch.ones((), requires_grad=True)
    with Fixed():
        y = checkpoint(scaled, x, use_reentrant=False) if again else scaled(x)
        assert y.item() == 0.0625
        return torch.autograd.grad(y, x)[0].item()


torch.manual_seed(0)
plain, again = slope(False), slope(True)
print(f"gradient without checkpoint {plain}, with checkpoint {again}, right {2 * 0.25**2}")
assert plain == 0.125 and abs(again - 0.125) > 0.01
PYTHON
