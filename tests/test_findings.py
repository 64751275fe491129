"""Hold the scripts of `findings/` to their form. None of them runs here."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source.imports import ROOT

FOLDER = ROOT / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
OURS = {"bart", "pipeline", "cluster", "barrage_plugins", "tests"}


def program(script: Path) -> str:
    """Return the Python code that a script runs."""
    (code,) = re.findall(r"<<'PYTHON'\n(.*)\nPYTHON\n$", script.read_text(), re.DOTALL)
    return str(code)


def test_index_has_every_script_once() -> None:
    listed = re.findall(r"^\| \[([^]]+)\]\(\1\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [script.name for script in SCRIPTS]
    assert len(SCRIPTS) >= 15


def test_shellcheck_accepts_them() -> None:
    run = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True)
    assert not run.returncode, run.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_head_says_what_is_seen_and_expected(script: Path) -> None:
    head = re.match(r"#!/usr/bin/env bash\n((?:#.*\n)+)set -euo pipefail\n", script.read_text())
    assert head, "the head is a comment, and `set -euo pipefail` follows it"
    assert re.search(r"^# [^#]*\d+\.\d+", head[1]), "the first sentence names the library and its version"
    assert "\n# Seen: " in head[1] and "\n# Expected: " in head[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_packages_are_pinned_and_named_alone(script: Path) -> None:
    (packages,) = re.findall(r"^venv/bin/pip install (?:--[a-z-]+ )+(?:\\\n +)?(.*)$", script.read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", package) for package in packages.split()), packages


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_program_can_fail_and_is_without_our_code(script: Path) -> None:
    tree = ast.parse(program(script))
    roots = {name.split(".")[0] for node in ast.walk(tree) for name in _imported(node)}
    assert not roots & OURS
    assert any(isinstance(node, ast.Assert) for node in _outside_functions(tree)), "an assertion outside functions decides"


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a node that no function or class holds."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield child
            yield from _outside_functions(child)


def _imported(node: ast.AST) -> list[str]:
    """Return the modules that a node imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
