#!/usr/bin/env bash
# torchvision 0.29.1: three of its own ways from a float image to 8 bits give three images.
#
# Seen: of 1,001 even steps from 0 to 1, `to_pil_image` is one level below `save_image` for half of them; `to_dtype(uint8, scale=True)`
# for an eighth, and one level above for another eighth. Of the 256 levels k / 255 less 8 / 255, 15 lose a level in `to_pil_image` alone.
# Expected: one. Each is documented as the conversion of values in [0, 1]; none names its rounding. They agree on unchanged photographs,
# so the difference shows only in adversarial examples: saved as a PIL image, a perturbation of 8 levels becomes one of 9.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
venv/bin/python - <<'PYTHON'
import io

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2.functional import to_dtype, to_pil_image
from torchvision.utils import save_image


def stored(row: torch.Tensor) -> dict[str, np.ndarray]:
    image = row.view(1, 1, -1).expand(3, 1, -1)
    file = io.BytesIO()
    save_image(image, file, format="png")
    ways = {"save_image": Image.open(file), "to_pil_image": to_pil_image(image)}
    arrays = {name: np.asarray(picture)[0, :, 0].astype(int) for name, picture in ways.items()}
    return arrays | {"to_dtype": to_dtype(image, torch.uint8, scale=True)[0, 0].numpy().astype(int)}


def against_save(row: torch.Tensor) -> dict[str, tuple[int, int]]:
    ways = stored(row)
    return {name: (int((way < ways["save_image"]).sum()), int((way > ways["save_image"]).sum())) for name, way in ways.items()}


steps = against_save(torch.linspace(0, 1, 1001))
levels = torch.arange(256) / 255
darker = against_save((levels - 8 / 255).clamp(0, 1))
print("pixels (below, above) save_image: even steps", steps, "levels less 8", darker)
assert against_save(levels)["to_pil_image"] == against_save(levels)["to_dtype"] == (0, 0)
assert steps["to_pil_image"][0] > 400 and min(steps["to_dtype"]) > 100
assert darker["to_pil_image"][0] > 0 and darker["to_dtype"] == (0, 0)
PYTHON
