"""Hold the floor plan: packages import one way, and what is dear or private to import lives in named modules."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = {
    "barrage_plugins": ["modules", "registry"],
    "bart": [
        "exponential",
        "dispatch",
        "rng",
        "types",
        "cpu_kernels",
        "autograd",
        "transforms",
        "ball",
        "losses",
        "classifier",
        "gpu_kernels",
        "bpda",
        "defenses",
        "gradient",
        "verdict",
        "attacks",
        "diagnostics",
        "training",
    ],
    "pipeline": [
        "errors",
        "provenance",
        "parallel",
        "scoring",
        "config",
        "storage",
        "planning",
        "data",
        "execution",
        "store",
        "models",
        "status",
        "campaigns",
        "training",
        "costs",
        "analysis",
        "reports",
        "cli",
        "__main__",
    ],
    "cluster": [
        "cluster_file",
        "launch_orders",
        "node_facts",
        "node_checks",
        "ray",
        "slurm",
        "kuberay",
        "launchers",
        "doctor",
        "commands",
    ],
}
"""The rooms of each package from the ground up: a module imports from its own room and from those before it."""

MOVED = {"pipeline.figures", "pipeline.intervals", "pipeline.story"}
"""Names that release 0.1 documented, kept until 0.3."""

MODULES = 14
"""The most modules of one folder, without `__init__`: what a reader takes in at a glance."""

HOMES = {
    "ray": {"execution.ray.actor", "execution.ray.metrics", "execution.ray.executor", "training.ray_train"},
    "webdataset": {"data.shards"},
    "braceexpand": {"data.shards"},
    "obstore": {"storage.bucket"},
    "tarfile": {"data.pack", "campaigns.image_rows", "data.shards", "campaigns.verify"},
    "pyarrow": {
        "store.compaction", "store.schema", "store.rows", "scoring.rules", "scoring.summaries", "campaigns.verify",
        "training.curves", "analysis.frames",
    },
    "pandas": {f"analysis.{name}" for name in ("accuracy", "compare", "frames", "transforms", "runs")}
    | {"reports.figures", "reports.page.content"},
    "matplotlib": {"training.curves", "reports.figures", "reports.image_trace"},
    "jinja2": {"reports.page"},
    "typer": {"__main__"},
}  # fmt: skip
"""The only modules of pipeline that may import each of these."""

ENGINE = {"ray", "webdataset", "pyarrow", "pandas", "safetensors", "typer", "rich", "yaml", "pydantic", "tarfile", "obstore"}


def modules(package):
    """Return {dotted name: path} of a package's modules."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path):
    """Return the dotted names that a file imports, at its top level or inside a function; `from a import b` gives a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(names):
    return {name.partition(".")[0] for name in names}


def module_of(name, known):
    """Return the module of `known` that a dotted name is, or is in; None for one of another package."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize("package", list(FLOORS))
def test_rooms_import_one_way(package):
    floors, known = FLOORS[package], modules(package)
    rooms = {name.split(".")[1] for name in known.keys() - MOVED if "." in name}
    assert rooms == set(floors), "a room without a floor, or a floor without a room"
    wrong = []
    for name, path in known.items():
        if name == package or name in MOVED:
            continue
        floor = floors.index(name.split(".")[1])
        for other in {module_of(found, known) for found in imports(path)} - {None, name}:
            if other == package and package == "bart":
                wrong.append(f"{name} imports the whole of bart")
            elif other != package and (other in MOVED or floors.index(other.split(".")[1]) > floor):
                wrong.append(f"{name} imports {other}, which stands above it")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", list(FLOORS))
def test_no_module_imports_itself_by_a_detour(package):
    """Imports inside functions count too: they hide a cycle rather than avoid it."""
    known = modules(package)
    graph = {name: {module_of(n, known) for n in imports(path)} - {None, name} for name, path in known.items()}
    assert sum(map(len, graph.values())) >= len(graph)
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


@pytest.mark.parametrize("package", list(FLOORS))
def test_a_folder_holds_about_a_dozen_modules(package):
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    counts = {
        str(f.relative_to(ROOT)): len([p for p in f.glob("*.py") if p.stem not in ("__init__", "__main__")]) for f in folders
    }
    assert not {folder: count for folder, count in counts.items() if count > MODULES}


@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("barrage_plugins", {"bart", "pipeline", "cluster"}),
        ("bart", {"pipeline", "cluster"}),
        ("pipeline", {"cluster"}),
        ("cluster", set()),
    ],
)
def test_packages_import_one_way(package, above):
    never = above | {"notebooks", "tests", "benchmarks", "docs"} | (ENGINE if package in ("barrage_plugins", "bart") else set())
    assert not {name: found for name, path in modules(package).items() if (found := tops(imports(path)) & never)}


@pytest.mark.parametrize("package", list(HOMES))
def test_each_engine_package_has_its_homes(package):
    users = {name.removeprefix("pipeline.") for name, path in modules("pipeline").items() if package in tops(imports(path))}
    assert users, f"nobody imports {package}: drop its line"
    assert users <= HOMES[package]


@pytest.mark.parametrize("name", sorted(MOVED))
def test_documented_names_still_import(name):
    code = f"import warnings; warnings.simplefilter('error', DeprecationWarning)\nimport {name}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "moved: import pipeline." in done.stderr
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {name}"], cwd=ROOT).returncode == 0


def test_importing_bart_loads_none_of_the_engine():
    code = "import sys, bart; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bart.attacks.pgd" in loaded
    assert not loaded & (ENGINE - {"tarfile", "rich"} | {"pipeline"})  # which torch loads
