"""Hold the floor plan: packages import one way, and what is dear or private to import lives in named modules."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.support.source.imports import ROOT, imports, module_of, modules, nodes, tops
from tests.support.stores import synthetic

FLOORS = {
    "barrage_plugins": ["modules", "registry"],
    "bart": [
        "surroundings",
        "approximate_exp",
        "recording",
        "dispatch",
        "rng",
        "draw_keys",
        "cpu_kernels",
        "autograd",
        "keyed",
        "types",
        "transforms",
        "ball",
        "losses",
        "low_frequencies",
        "classifier",
        "gpu_kernels",
        "bpda",
        "defenses",
        "gradient",
        "verdict",
        "attacks",
        "certificate",
        "one_call",
        "diagnostics",
        "training",
    ],
    "pipeline": [
        "extras",
        "errors",
        "escaped",
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
        "tracking",
        "campaigns",
        "training",
        "costs",
        "analysis",
        "reports",
        "view",
        "board",
        "cli",
        "__main__",
    ],
    "cluster": [
        "cluster_file",
        "launch_checks",
        "launch_orders",
        "templates",
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
    "braceexpand": {"data.shards"},
    "yaml": {"config.yaml_loader", "config.campaign", "store.planned_cells", "campaigns.record", "training.record",
             "reports.hugging_face"},
    "obstore": {"storage.bucket"},
    "tarfile": {"data.tars.members", "data.tars.writing"},
    "pyarrow": {
        "data.sources.parquet",
        "status.scan", "store.compacted", "store.schema", "store.rows", "store.sealed", "store.export", "store.mixing",
        "store.doubles", "store.footers",
        "scoring.alike", "scoring.decided", "scoring.rules", "scoring.summaries",
        "campaigns.verification.verify", "training.curves", "analysis.frames",
        "analysis.comparison.measured", "analysis.comparison.same_images", "analysis.comparison.details",
        "analysis.comparison.parts", "analysis.errors", "analysis.images", "analysis.runs",
        "view.export", "view.images", "view.rows.database", "view.rows.reading", "view.rows.scored",
    },
    "pandas": {
        "analysis.accuracy", "analysis.certificates", "analysis.comparison", "analysis.errors", "analysis.frames",
        "analysis.transforms", "analysis.runs", "reports.figures", "reports.page.content", "reports.page.curves",
        "view.figures",
    },
    "matplotlib": {"training.curves", "reports.figures", "reports.image_trace"},
    "jinja2": {"reports.page", "board.pages"},
    "duckdb": {"view.rows.database"},
    "starlette": {"view.server.app"},
    "uvicorn": {"view.server.serving"},
    "typer": {"cli"},
}  # fmt: skip
"""The only modules or rooms of pipeline that may import each of these."""

ENGINE = {"ray", "webdataset", "pyarrow", "pandas", "safetensors", "typer", "rich", "yaml", "pydantic", "tarfile", "obstore"}


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
def test_the_architecture_page_lists_the_rooms_in_order(package):
    text = (ROOT / "docs" / "architecture.md").read_text().partition(f"\n## {package}: ")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = [name for cell in cells for name in re.findall(r"`(\w+)(?:\.py|/)`", cell)]
    old = {name.rpartition(".")[2] for name in MOVED}
    assert [name for name in listed if name not in old] == FLOORS[package]


@pytest.mark.parametrize("package", list(FLOORS))
def test_no_module_imports_itself_by_a_detour(package):
    """Imports inside functions count too: they hide a cycle rather than avoid it."""
    known = modules(package)
    graph = {name: {module_of(n, known) for n in imports(path)} - {None, name} for name, path in known.items()}
    assert sum(map(len, graph.values())) >= len(graph)
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


@pytest.mark.parametrize("package", [*FLOORS, "tests/support"])
def test_a_folder_holds_about_a_dozen_modules(package):
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert folders
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
    assert not {user for user in users if not any(f"{user}.".startswith(f"{home}.") for home in HOMES[package])}


def test_documented_names_still_import():
    """Each imports, with one warning that says where it is now."""
    code = f"for name in {sorted(MOVED)}: __import__(name)"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [name for name in MOVED if f"{name} moved: import pipeline." not in done.stderr] == []


def test_no_test_module_is_imported():
    """What several test modules need is in tests/support; strings name it too, as the architecture of a campaign does."""
    known = modules("tests")
    users = {name: {module_of(found, known) for found in imports(path)} for name, path in known.items()}
    assert sum(name.startswith("tests.support.") for found in users.values() for name in found - {None}) > 50
    wrong = [f"{name} imports {other}" for name, found in users.items() for other in found - {None} if is_collected(other)]
    for name, path in known.items():
        texts = [node.value for node in nodes(path) if isinstance(node, ast.Constant)]
        named = [re.fullmatch(r"(tests\.[\w.]+):\w+", text) for text in texts if isinstance(text, str)]
        wrong += [f"{name} names {match[1]}" for match in named if match and is_collected(match[1])]
    assert not wrong, "\n".join(wrong)


def is_collected(name):
    """Return whether pytest itself loads a module: it holds tests or fixtures."""
    last = name.rpartition(".")[2]
    return last.startswith("test_") or last == "conftest"


@pytest.mark.parametrize("package", list(FLOORS))
def test_tests_mirror_the_rooms(package):
    """Below the folder of a package, folders are rooms of that package, and all modules hold tests or fixtures."""
    paths = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests" / package).rglob("*.py")]
    assert paths
    assert not [str(path) for path in paths if not is_collected(path.stem) and path.stem != "__init__"]
    assert not {str(path.parent) for path in paths if not (ROOT / path.parent).is_dir()}


def test_importing_bart_loads_none_of_the_engine():
    code = "import sys, bart; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bart.attacks.pgd" in loaded
    assert not loaded & (ENGINE - {"tarfile", "rich"} | {"pipeline"})  # which torch loads


READERS = {
    "table": ["--format", "json"],
    "status": [],
    "export": ["rows.parquet"],
    "seal": [],
}
"""Commands that read rows and nothing but rows, and options with which they end on any store."""


def test_commands_that_read_rows_load_no_torch(tmp_path):
    """Loading it takes seconds and half a gigabyte, and rows need none of it."""
    synthetic.store(tmp_path / "store", synthetic.campaign([2]), images=20, unit_images=10)
    calls = [[command, str(tmp_path / "store"), *options] for command, options in READERS.items()]
    code = f"""
import sys
from contextlib import suppress
from pipeline.cli.app import app
for call in {calls}:
    with suppress(SystemExit):
        app(call)
    loaded = {{"torch", "bart", "ray"}} & sys.modules.keys()
    assert not loaded, f"barrage {{call[0]}} loads {{loaded}}"
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "adv_top1" in done.stdout and (tmp_path / "rows.parquet").exists() and (tmp_path / "store" / "sealed").exists()
