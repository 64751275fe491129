#!/usr/bin/env bash
# Installs barrage beside the base image's own torch, which stays as it is: install.sh CHECKOUT GPU
set -euo pipefail
checkout=$1 gpu=$2
kept=$(mktemp) pinned=$(mktemp)
trap 'rm -f "$kept" "$pinned"' EXIT

# torch, torchvision, triton and numpy are the base's builds; everything else is pinned to what was tested together.
python -m pip list --format=freeze | grep -E '^(torch|torchvision|triton|numpy)==' > "$kept"
grep -vE '^(torch|torchvision|numpy)==' "$checkout/constraints.txt" > "$pinned"
unset PIP_CONSTRAINT # the base sets it, and pins packages that barrage needs newer
python -m pip install --no-cache-dir --disable-pip-version-check -c "$kept" -c "$pinned" "ray[default]" "${checkout}[campaigns]"
python -m pip list --format=freeze | grep -E '^(torch|torchvision|triton|numpy)==' | diff "$kept" - # differs if a build was replaced

architectures=$(python -c 'import torch; print(getattr(torch._C, "_cuda_getArchFlags", str)() or "none")')
if [[ " $architectures " != *" $gpu "* ]]; then
  echo "torch of this base was built for: $architectures; $gpu is not among them: take another --build-arg BASE" >&2
  exit 1
fi
barrage --help > /dev/null
rm -rf /root/.cache
