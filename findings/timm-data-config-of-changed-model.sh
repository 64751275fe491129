#!/usr/bin/env bash
# timm 1.0.31: the data configuration of a model ignores the size and the channels that the model was made with.
#
# Seen: for `create_model("vit_tiny_patch16_224", img_size=64)` and `create_model("resnet18", in_chans=1)`, `resolve_model_data_config(model)`
# still answers 3 x 224 x 224; the transform made from it raises in the second, and the first model refuses its output.
# Expected: what the model takes. The function is documented as the way from a model to its preprocessing, and the model knows its size.
set -euo pipefail

work=$(mktemp -d "$PWD/finding.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0
venv/bin/python - <<'PYTHON'
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

asked = {"vit_tiny_patch16_224": {"img_size": 64}, "resnet18": {"in_chans": 1}}
for name, options in asked.items():
    model = timm.create_model(name, **options).eval()
    config = resolve_model_data_config(model)
    picture = Image.new("L" if "in_chans" in options else "RGB", (80, 80))
    try:
        model(create_transform(**config)(picture)[None])
        result = "works"
    except (AssertionError, RuntimeError) as error:
        result = str(error)
    print(name, options, "->", config["input_size"], "|", result)
    assert config["input_size"] == (3, 224, 224) and result != "works"
PYTHON
