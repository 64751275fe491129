"""Imports point one way: torch <- bart <- pipeline <- the rest. What a package costs to import lives in named files."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = (
    "ray",
    "webdataset",
    "pyarrow",
    "pandas",
    "safetensors",
    "typer",
    "rich",
    "yaml",
    "pydantic",
    "tarfile",
    "braceexpand",
    "obstore",
)
HOMES = {
    "ray": {"executors.actor", "executors.metrics", "executors.onray", "ray_train"},
    "webdataset": {"shards"},
    "braceexpand": {"shards"},
    "obstore": {"bucket"},
    "tarfile": {"pack", "records", "shards", "verify"},
    "pyarrow": {"compact", "curves", "rows", "results", "scores", "tables", "verify", "analysis.frames"},
    "pandas": {f"analysis.{name}" for name in ("accuracy", "compare", "frames", "present", "runs")}
    | {"figures", "report.content"},
    "matplotlib": {"curves", "figures", "story"},
    "jinja2": {"report"},
    "typer": {"__main__"},
}
"""The only modules of pipeline that may import each of these."""


def modules(package):
    """{dotted name: path} of a package's modules."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path):
    """The dotted names that a file imports, at its top level or inside a function; `from a import b` gives a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(names):
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("name", list(modules("bart")))
def test_bart_knows_nothing_of_campaigns_files_or_ray(name):
    found = packages(imports(modules("bart")[name]))
    assert not found & {"pipeline", "cluster", "tests", "benchmarks", *ENGINE}


@pytest.mark.parametrize("name", list(modules("pipeline")))
def test_the_pipeline_imports_nothing_above_it(name):
    assert not packages(imports(modules("pipeline")[name])) & {"cluster", "notebooks", "tests", "benchmarks"}


@pytest.mark.parametrize("package", list(HOMES))
def test_each_engine_package_has_its_homes(package):
    users = {name.removeprefix("pipeline.") for name, path in modules("pipeline").items() if package in packages(imports(path))}
    assert users, f"nobody imports {package}: drop its line"
    assert users <= HOMES[package]


@pytest.mark.parametrize("name", list(modules("cluster")))
def test_the_cluster_imports_nothing_above_it(name):
    assert not packages(imports(modules("cluster")[name])) & {"notebooks", "tests", "benchmarks"}


def module_of(name, known):
    """The module of `known` that a dotted name is, or is in; None for one of another package."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize("package", ["bart", "pipeline", "cluster"])
def test_no_module_imports_itself_by_a_detour(package):
    """Imports inside functions count too: they hide a cycle rather than avoid it."""
    known = modules(package)
    graph = {name: {module_of(n, known) for n in imports(path)} - {None, name} for name, path in known.items()}
    assert sum(map(len, graph.values())) >= len(graph)
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


def test_importing_bart_loads_none_of_the_engine():
    code = "import sys, bart; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bart.attacks.pgd" in loaded
    assert not loaded & {"ray", "webdataset", "pyarrow", "pandas", "safetensors", "typer", "yaml", "pydantic", "pipeline"}
