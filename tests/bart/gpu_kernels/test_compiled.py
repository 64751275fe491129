"""What tests of kernels keep: the same content is compiled or interpreted once, and any other content again."""

import importlib.util
import itertools

import pytest
import torch

from tests.support.contracts import kernels
from tests.support.contracts.kernels import assert_interpreted, compiled

pytest.importorskip("triton")

SOURCE = """
import triton
import triton.language as tl

SCALE = tl.constexpr(2.0)


@triton.jit
def helper(x):
    return x * SCALE + 1.0


@triton.jit
def kernel(source, target, count, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    x = tl.load(source + place, mask=place < count)
    tl.store(target + place, helper(x), mask=place < count)
"""
NAMES = map("kernels_{}".format, itertools.count())
X = torch.zeros(8)


def loaded(folder, source):
    """Return the kernel of a module with this text, imported anew."""
    path = folder / f"{next(NAMES)}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel


@pytest.fixture
def entries(tmp_path):
    """Return a function that compiles a launch and returns how many compiled kernels the cache then holds."""

    def count(source=SOURCE, arguments=(X, X, 8), block=8, capability=90):
        code = compiled(capability, loaded(tmp_path, source), arguments, {"BLOCK": block}, tmp_path / "cache")
        assert code.startswith(b"\x7fELF")
        return len(list((tmp_path / "cache").rglob("*.cubin")))

    return count


def test_the_same_content_is_compiled_once(entries):
    assert [entries(), entries()] == [1, 1]


@pytest.mark.parametrize("change", [
    {"source": SOURCE.replace("place < count)\n    tl.store", "place < count - 1)\n    tl.store")},
    {"source": SOURCE.replace("+ 1.0", "+ 3.0")},
    {"source": SOURCE.replace("constexpr(2.0)", "constexpr(4.0)")},
    {"arguments": (X, X.double(), 8)},
    {"arguments": (X, X, 2**40)},
    {"block": 16},
    {"capability": 70},
], ids=["kernel", "function it calls", "constant it reads", "type", "size of an integer", "constant", "target"])  # fmt: skip
def test_another_content_is_compiled_again(entries, change):
    assert [entries(), entries(**change)] == [1, 2]


def test_a_kernel_that_no_longer_compiles_is_no_hit(entries):
    from triton.compiler.errors import CompilationError

    entries()
    with pytest.raises(CompilationError):
        entries(SOURCE.replace("place < count", "place < missing"))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a folder that stands for the checkout, with a test module that counts its runs and fails if told to."""
    (tmp_path / "bart").mkdir()
    (tmp_path / "bart" / "code.py").write_text("")
    (tmp_path / "counting.py").write_text("import sys; open('runs', 'a').write('x'); sys.exit(sys.argv[1:] == ['wrong'])")
    monkeypatch.setattr(kernels, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    kernels._code.cache_clear()
    yield tmp_path
    kernels._code.cache_clear()


def runs(checkout, *arguments):
    """Return how often the module ran, after it was asked for once more as in a new process."""
    kernels._code.cache_clear()
    assert_interpreted("counting", *arguments)
    return len((checkout / "runs").read_text())


def test_what_passed_is_not_interpreted_again_until_code_changes(checkout):
    assert [runs(checkout), runs(checkout), runs(checkout, "other")] == [1, 1, 2]
    (checkout / "bart" / "code.py").write_text("changed = True")
    assert runs(checkout) == 3
    with (checkout / "counting.py").open("a") as file:
        file.write("  # changed")
    assert [runs(checkout), runs(checkout)] == [4, 4]


def test_what_failed_is_interpreted_again(checkout):
    for _ in range(2):
        with pytest.raises(AssertionError):
            assert_interpreted("counting", "wrong")
    assert len((checkout / "runs").read_text()) == 2
