#!/usr/bin/env bash
# torchvision 0.29.1: hue and sharpness of the transforms of version 2 break the backward pass; those of version 1 have gradients.
#
# Seen: `v2.functional.adjust_hue` and `adjust_sharpness` of float tensors raise a RuntimeError about an operation in place in the backward
# pass, and so do v2.ColorJitter(hue=...) and v2.RandomAdjustSharpness; brightness, contrast, saturation, gamma, solarize, blur, rotations
# and noise of version 2 have gradients, and so have `adjust_hue` and `adjust_sharpness` of version 1.
# Expected: the gradients of version 1. The documentation calls version 2 a drop-in replacement that gives the same results. An attack that
# follows the gradient through random transforms (EOT) meets the error as soon as it goes from version 1 to 2.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from torchvision.transforms import functional as one
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as two

torch.manual_seed(0)
images = torch.rand(2, 3, 16, 16)


def slope(transform) -> float | None:
    moved = images.clone().requires_grad_()
    try:
        return round(torch.autograd.grad(transform(moved).square().sum(), moved)[0].abs().sum().item(), 1)
    except RuntimeError as error:
        assert "inplace" in str(error)
        return None


seen = {
    "v1 hue": slope(lambda x: one.adjust_hue(x, 0.1)),
    "v1 sharpness": slope(lambda x: one.adjust_sharpness(x, 2.0)),
    "v2 brightness": slope(lambda x: two.adjust_brightness(x, 1.5)),
    "v2 contrast": slope(lambda x: two.adjust_contrast(x, 1.5)),
    "v2 saturation": slope(lambda x: two.adjust_saturation(x, 1.5)),
    "v2 hue": slope(lambda x: two.adjust_hue(x, 0.1)),
    "v2 sharpness": slope(lambda x: two.adjust_sharpness(x, 2.0)),
    "v2.ColorJitter(hue=0.1)": slope(v2.ColorJitter(hue=0.1)),
    "v2.RandomAdjustSharpness": slope(v2.RandomAdjustSharpness(2.0, p=1.0)),
}
print(seen)
without = [name for name, found in seen.items() if found is None]
assert without == ["v2 hue", "v2 sharpness", "v2.ColorJitter(hue=0.1)", "v2.RandomAdjustSharpness"]
assert all(found for found in seen.values() if found is not None)
assert torch.allclose(one.adjust_hue(images, 0.1), two.adjust_hue(images, 0.1), atol=1e-5)
PYTHON
