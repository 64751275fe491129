"""Break a module in one small place at a time, and see whether its tests fail: python -m tests.mutants FILE... [--tests PATH]

Each mutant is the module with one sign, factor, comparison, constant, extreme or condition changed. It is written into a copy
of the checkout, and its tests run there until the first failure. A mutant that passes them all is printed: either a test is
missing, or the change changes no result.

FILE        modules to break, such as bart/losses.py
--tests     the tests to run; default: those of the same name below tests/
--count     mutants of each module, chosen at random by --seed; default: all
--import    slow libraries, which this process imports once; nothing of the project
--seconds   processor time after which a mutant counts as noticed, since some never end

Each run is a fork of this process.
"""

import argparse
import ast
import copy
import os
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SLOW = ("torch", "numba", "numpy", "scipy.optimize", "scipy.stats", "pandas", "pyarrow", "yaml", "pydantic", "pytest")
"""Libraries to import once."""

COPIED = ("barrage_plugins", "bart", "benchmarks", "campaigns", "cluster", "docs", "pipeline", "tests", "pyproject.toml")

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Add,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip

PAIRS = ("min max", "amin amax", "argmin argmax", "clamp_min clamp_max", "minimum maximum", "any all", "floor ceil",
         "zeros_like ones_like", "zeros ones", "sum mean", "exp log", "log1p log", "square abs")  # fmt: skip
NAMES = {name: other for pair in PAIRS for name, other in (pair.split(), pair.split()[::-1])}
"""The name of a function or method, and what to call instead."""


SAID = "said.txt"
"""File in the copy, of what the last tests printed."""


class Change(NamedTuple):
    """Hold one change: the line, what stands there, what will, and the whole changed module."""

    line: int
    before: str
    after: str
    module: str


def changed(node: ast.AST) -> list[ast.AST]:
    """Return the nodes that may stand in place of one."""
    match node:
        case ast.Constant(value):
            return [ast.Constant(other) for other in _other_constants(value)]
        case ast.UnaryOp(ast.USub() | ast.Not(), operand):
            return [operand]
        case ast.IfExp(test, body, other):
            return [ast.IfExp(test, other, body)]
        case ast.Compare(left, [operator, *others], right):
            return [ast.Compare(left, [swap(), *others], right) for swap in _swaps(operator)]
        case ast.BoolOp(operator, values):
            return [ast.BoolOp(swap(), values) for swap in _swaps(operator)]
        case ast.BinOp(left, operator, right):
            return [ast.BinOp(left, swap(), right) for swap in _swaps(operator)]
        case ast.Attribute(value, name) if name in NAMES:
            return [ast.Attribute(value, NAMES[name], ast.Load())]
        case ast.Name(name) if name in NAMES:
            return [ast.Name(NAMES[name], ast.Load())]
    return []


def _swaps(operator: ast.AST) -> list[type]:
    return [OPERATORS[type(operator)]] if type(operator) in OPERATORS else []


def _other_constants(value: object) -> list[object]:
    """Return what may stand in place of a constant: a neighbour, a double, the other truth; nothing for a text."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    return [2 * value if value else 1.0] if isinstance(value, float) else []


def code_of(module: ast.Module) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    """Yield (parent, name of its field, node) for all code that computes: no annotation, default, decorator or message."""

    def below(node: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST]]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr):
                    continue
                if isinstance(node, ast.ClassDef) and isinstance(child, ast.AnnAssign):
                    continue
                yield node, name, child
                yield from below(child)

    yield from below(module)


def mutants(text: str) -> list[Change]:
    """Return all mutants of a module, in the order of its lines."""
    module, made = ast.parse(text), []
    for parent, name, node in code_of(module):
        for other in changed(node):
            value = getattr(parent, name)
            place = copy.copy(value)
            if isinstance(value, list):
                place[next(i for i, item in enumerate(value) if item is node)] = other
            setattr(parent, name, place if isinstance(value, list) else other)
            made.append(
                Change(
                    getattr(node, "lineno", 0),
                    ast.unparse(node),
                    ast.unparse(other),
                    ast.unparse(ast.fix_missing_locations(module)),
                )
            )
            setattr(parent, name, value)
    return sorted(made, key=lambda change: change.line)


def copied(folder: Path) -> Path:
    """Copy what tests need into a folder; the data beside the checkout are linked beside the copy."""
    tree = folder / "tree"
    for path in filter(Path.exists, map(Path, COPIED)):
        if path.is_dir():
            shutil.copytree(path, tree / path, symlinks=True)
        else:
            shutil.copy(path, tree / path)
    if Path("../shared").exists():
        (folder / "shared").symlink_to(Path("../shared").resolve())
    return tree


def passed(tree: Path, tests: list[str], seconds: int) -> bool:
    """Return whether these tests pass in a fork of this process, within its processor time; `SAID` holds what they print."""
    sys.stdout.flush()  # or the child would print it again
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    for stream in (1, 2):
        os.dup2(os.open(tree / SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND), stream)
    here = Path.cwd()
    sys.path[:] = [str(tree), *(place for place in sys.path if Path(place).resolve() != here)]
    os.environ["PYTHONPATH"] = str(tree)
    os.chdir(tree)
    del sys.modules["tests"]  # this checkout's, which holds this program
    import pytest

    found = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    sys.stdout.flush()
    os._exit(found)


def own_tests(path: Path) -> list[str]:
    """Return the file of tests that has the module's name."""
    return [str(Path("tests", *path.parts[:-1], f"test_{path.name}"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--tests", nargs="+", metavar="PATH")
    parser.add_argument("--import", dest="slow", nargs="+", default=SLOW, metavar="NAME")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=300)
    args = parser.parse_args()
    sys.dont_write_bytecode = True  # a module that changed within a second would be taken for the one before
    for name in args.slow:
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        for path in args.files:
            one_module(tree, path, args)


def one_module(tree: Path, path: Path, args: argparse.Namespace) -> None:
    """Print the mutants of a module that its tests do not notice. Raises SystemExit if the tests fail without a change."""
    tests, text = args.tests or own_tests(path), path.read_text()
    for stale in (tree / path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        stale.unlink()
    if not passed(tree, tests, args.seconds):
        print((tree / SAID).read_text())
        raise SystemExit(f"{path}: its tests fail without a change, or take over {args.seconds} s: {' '.join(tests)}")
    found = mutants(text)
    chosen = found if args.count is None else random.Random(args.seed).sample(found, min(args.count, len(found)))
    survived = 0
    for change in sorted(chosen):
        (tree / path).write_text(change.module)
        if passed(tree, tests, args.seconds):
            survived += 1
            print(f"  {path}:{change.line}: {change.before}  ->  {change.after}", flush=True)
    (tree / path).write_text(text)
    print(f"{path}: {len(chosen)} of {len(found)} mutants, {len(chosen) - survived} noticed, {survived} not", flush=True)


if __name__ == "__main__":
    main()
