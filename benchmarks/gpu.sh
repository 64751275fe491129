#!/usr/bin/env bash
# Everything that needs a GPU, in one run of under 12 minutes: benchmarks/gpu.sh [COMMIT]
#
# First whether every kernel is right, then the times of this build beside those of COMMIT (default: the last release's tag, else HEAD),
# then peers at equal settings. The results go to docs/results/gpu-DEVICE.txt, with a summary at the end. Without a GPU it is a rehearsal:
# kernels run in Triton's interpreter, times are those of tiny stacks on a CPU, and figures of a GPU are predicted from launches and bytes.
# Every part has a limit of its own, and none stops those that follow.
set -uo pipefail
cd "$(dirname "$0")/.."
before=${1:-$(git describe --tags --abbrev=0 2> /dev/null || git rev-parse HEAD)}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH=$PWD
device=$(python -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")')
out=docs/results/gpu-$(tr -cs 'a-z0-9' '-' <<< "${device,,}" | sed 's/^-*//; s/-*$//').txt
if [[ ! $device ]]; then
  export TRITON_INTERPRET=1
  out=docs/results/gpu-rehearsal.txt
fi
summary=()

# part SECONDS NAME COMMAND...: run a command with a limit, and note how it ended.
part() {
  local limit=$1 name=$2 began=$SECONDS ended
  shift 2
  printf '\n## %s\n$ %s\n' "$name" "$*"
  timeout "$limit" "$@" 2>&1
  ended=$?
  case $ended in
    0) ended=ok ;;
    124) ended="ENDED BY ITS LIMIT of $limit s" ;;
    *) ended="FAILED with exit code $ended" ;;
  esac
  summary+=("$(printf '%-22s %s, %d s' "$name" "$ended" $((SECONDS - began)))")
}

# having MODULE...: whether these are installed; says so if not.
having() {
  python -c "import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))" "$@" && return
  summary+=("left out, as one of $* is not installed: pip install 'barrage[peers]'")
  return 1
}

everything() {
  echo "${device:-No GPU: a rehearsal}, $(python -c 'import torch, triton; print(f"torch {torch.__version__}, triton {triton.__version__}")')"
  echo "build $(git describe --always --dirty), before: $before"
  if [[ $device ]]; then
    part 160 "kernels" python -m benchmarks.gpu.kernels --jobs 12
    part 60 "no wait in a step" python -m pytest -q -p no:cacheprovider tests/bart/test_cuda.py -k "never_waits or random_numbers"
    part 150 "passes" python -m benchmarks.gpu.passes --before "$before"
    part 45 "each transform" python -m benchmarks.gpu_model --k 10 --places 30
    part 90 "attack" python -m benchmarks.attack --model resnet50 --images 32 --draws 16 --largest 512 --rounds 2 --lanes 0
    part 30 "training, predicted" python -m benchmarks.gpu.training
    part 45 "training" python -m benchmarks.train campaigns/train/resnet50-bart.yaml --random --batch 128 --steps 8
    having torchattacks art && part 80 "peers" python -m benchmarks.peers --model resnet50 --images 16 --steps 2 --draws 32 --rounds 1
    having kornia torchvision && part 45 "transforms of peers" python -m benchmarks.gpu.transforms
  else
    part 1800 "kernels" python -m benchmarks.gpu.kernels
    part 120 "no wait in a step" python -m pytest -q -p no:cacheprovider tests/bart/test_cuda.py -k "never_waits or random_numbers"
    part 600 "passes" python -m benchmarks.gpu.passes --before "$before" --rounds 1
    part 120 "each transform" python -m benchmarks.gpu_model --k 10 --places 30
    part 600 "attack" python -m benchmarks.attack --model resnet50 --images 1 --draws 2 --largest 1 --rounds 1 --seconds 0.01 --lanes 0
    part 120 "training, predicted" python -m benchmarks.gpu.training
    part 600 "training" python -m benchmarks.train campaigns/train/resnet50-bart.yaml --random --batch 2 --steps 1
    having torchattacks art && part 600 "peers" python -m benchmarks.peers --model resnet50 --images 1 --steps 1 --draws 2 --rounds 1
    having kornia torchvision && part 600 "transforms of peers" python -m benchmarks.gpu.transforms --images 2 --side 32 --repeats 1
  fi
  printf '\n## Summary\n%s, %d s\n' "${device:-No GPU: times above are those of a CPU, figures of GPUs are predicted}" "$SECONDS"
  printf '%s\n' "${summary[@]}"
}

mkdir -p docs/results
everything | tee "$out"
! grep -q "FAILED\|ENDED BY ITS LIMIT" "$out"
