#!/usr/bin/env bash
# torchattacks 3.5.1: one step without gradient ends every momentum attack for good, in silence.
#
# Seen: a random defense whose first draw hides the whole image, so that the gradient of that step is 0, and whose later draws hide
# nothing. PGD fools the model on every image; MIFGSM, NIFGSM, VMIFGSM, DIFGSM, TIFGSM and UPGD return the clean images.
# Expected: nine good steps. The articles divide the gradient by its mean absolute value, and say nothing of 0; here 0 / 0 is NaN, the
# momentum keeps it, and the sign of NaN counts as 0. ART's MomentumIterativeMethod adds a small number. Random crops, erasing and dropped
# channels have such draws, so these attacks call random defenses robust.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchattacks==3.5.1
venv/bin/python - <<'PYTHON'
import torch
import torchattacks
from torch import nn

torch.manual_seed(0)
linear = nn.Linear(192, 10)
images = torch.rand(4, 3, 8, 8)
labels = linear(images.flatten(1)).argmax(1)


class HiddenAtFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = linear, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.linear(x.flatten(1) * (self.calls > 1))


result = {}
for name in ("PGD", "MIFGSM", "NIFGSM", "VMIFGSM", "DIFGSM", "TIFGSM", "UPGD"):
    found = getattr(torchattacks, name)(HiddenAtFirst(), steps=10)(images, labels)
    result[name] = int((linear(found.flatten(1)).argmax(1) != labels).sum()), torch.equal(found, images)
print("(fooled of 4, returned clean):", result)
assert result.pop("PGD") == (4, False)
assert set(result.values()) == {(0, True)}, result
PYTHON
