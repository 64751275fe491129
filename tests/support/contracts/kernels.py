"""Check GPU kernels without a GPU: in Triton's interpreter, and through its compiler for the GPUs' targets."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from unittest.mock import patch

import torch

from bart import TRANSFORMS, Gradient, dispatch
from bart.gpu_kernels.common import launcher
from tests.support.images import keys, photographs
from tests.support.processes import PATIENCE

TARGETS = (70, 90)
"""Compute capabilities that kernels are compiled for: V100 and H100, the oldest and the newest in use."""
ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "triton"
"""What was compiled stays here. Triton keys it by content: the source of the kernel and of all that it calls, constants, types
of arguments, the target and Triton's own code. So a hit is as good as a compilation, and any change is a miss."""
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")
POINTERS = {torch.float32: "*fp32", torch.float64: "*fp64", torch.uint8: "*u8", torch.int8: "*i8", torch.int16: "*i16",
            torch.int32: "*i32", torch.int64: "*i64", torch.bool: "*i1", torch.complex64: "*fp32"}  # fmt: skip


@cache
def _code():
    """Return a digest of all that test modules in the interpreter may depend on, but for themselves: code, packages, Python."""
    found = hashlib.sha256(sys.version.encode())
    for package in sorted(f"{package.name} {package.version}" for package in metadata.distributions()):
        found.update(package.encode())
    for folder in ("bart", "tests/support", "tests/oracles"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            found.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return found.hexdigest()


def assert_interpreted(module, *arguments):
    """Run a test module as a program in Triton's interpreter, in a process of its own: Triton reads the switch on import.

    What it finds follows from its seeds and code. So what passed once in this checkout passes until any of that code changes,
    or a package: such a run is noted below .cache/ and not repeated.
    """
    content = (_code(), Path(importlib.util.find_spec(module).origin).read_text(), *arguments)
    passed = ROOT / ".cache" / "interpreted" / hashlib.sha256("\0".join(content).encode()).hexdigest()
    if passed.exists():
        return
    switch = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=os.environ | switch, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    passed.parent.mkdir(parents=True, exist_ok=True)
    passed.touch()


def images(height, width):
    """Return six images (6, 3, height, width) float32: four photographs, one between the levels of 8 bits, and constants."""
    some = photographs(height, width).float().contiguous()
    x = torch.cat([some[:4], (some[:1] * 0.9 + 0.037).clamp(0, 1), torch.full_like(some[:1], 0.5)])
    x[5, 0], x[5, 2] = 0.0, 1.0
    return x


def assert_twin(name, size=(40, 51), largest=1e-5, rare=0.0, gradient=1e-4, seeds=(0, 1)):
    """Assert, in the interpreter, that the kernel of a transform computes its eager twin's values and gradients.

    largest     of the absolute differences of the values, but for a share `rare` of them (ties that rounding breaks)
    gradient    relative error of the vector-Jacobian product in the 2-norm, per image
    """
    transform, apply = TRANSFORMS[name], dispatch._load(dispatch.KERNELS[name])
    for seed in seeds:
        x = images(*size)
        params = transform.draw(keys(len(x), seed), size)
        with torch.no_grad():
            twin, ours = transform.eager(x, params), apply(x, params)
        assert ours.dtype is x.dtype and ours.shape == x.shape and ours.isfinite().all()
        wrong = ((ours - twin).abs() > largest).float().mean((1, 2, 3))
        assert wrong.max() <= rare, f"{name}, seed {seed}: {wrong.tolist()} of the values differ by more than {largest}"
        if name not in ("color_precision",):
            assert (twin - x).abs().amax() > 1e-3, "the test transforms nothing"
        leaf = x.clone().requires_grad_()
        y = apply(leaf, params)
        assert torch.equal(y.detach(), ours), "another value with a graph than without"
        if transform.gradient is Gradient.NONE:
            assert not y.requires_grad
            continue
        cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        (product,) = torch.autograd.grad(y, leaf, cotangent)
        leaf_twin = x.clone().requires_grad_()
        (truth,) = torch.autograd.grad(transform.eager(leaf_twin, params), leaf_twin, cotangent)
        assert product.isfinite().all()
        off = (product - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1).clamp_min(1e-9)
        assert off.max() <= gradient, f"{name}, seed {seed}: gradients off by {off.tolist()}"


def _type(value):
    """Return the type of an argument as Triton writes it."""
    if isinstance(value, torch.Tensor):
        return POINTERS[value.dtype]
    return "fp32" if isinstance(value, float) else "i32" if -(2**31) <= value < 2**31 else "i64"


def compiled(capability, kernel, arguments, constants, cache=CACHE):
    """Return the machine code of one launch, for a compute capability; what was compiled before is in `cache`. Needs no GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    options = {name: value for name, value in constants.items() if name in OPTIONS}
    types, values = dict.fromkeys(kernel.arg_names, "constexpr"), {}
    for name, value in zip(kernel.arg_names, arguments, strict=False):
        types[name] = _type(value)
    for name, value in constants.items():
        if name not in OPTIONS:
            values[(kernel.arg_names.index(name),)] = value
    with patch.dict(os.environ, TRITON_CACHE_DIR=str(cache)):
        made = compile(ASTSource(kernel, types, values), target=GPUTarget("cuda", capability, 32), options=options)
        return made.asm["cubin"]


def assert_compiles(function, capability):
    """Assert that all launches of `function()` compile to machine code; return their kernels. Nothing runs."""
    launched = set()

    def launch(kernel, programs, *arguments, **constants):
        assert compiled(capability, kernel, arguments, constants).startswith(b"\x7fELF")
        launched.add(kernel.__name__)

    with patch.object(launcher, "launch", launch):
        function()
    assert launched, "nothing was launched"
    return launched


def assert_transform_compiles(name, capability, size=(40, 51)):
    """Assert that all launches of a transform's kernel compile, forward and backward."""
    transform, apply = TRANSFORMS[name], dispatch._load(dispatch.KERNELS[name])

    def function():
        x = images(*size).requires_grad_()
        y = apply(x, transform.draw(keys(len(x)), size))
        if y.requires_grad:
            torch.autograd.grad(y.sum(), x)

    assert_compiles(function, capability)
