"""Every notebook runs from start to end, on the store of a run."""

import importlib
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.data.pack import pack
from pipeline.execution import LocalExecutor
from tests.support import tiny
from tests.support.processes import PATIENCE

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    files = [(folder / f"image{i}.png", i) for i in range(4)]
    for path, seed in files:
        path.write_bytes(tiny.picture(seed))
    pack(files, folder / "shards", "photos")
    asked = tiny.campaign(str(folder / "shards" / "photos-000000.tar"))
    job = prepare(parse(asked, "c.yaml"), str(folder / "store")).with_cuts({})
    job.write_down()
    assert run(job, LocalExecutor(attacking), Reporter(Console(quiet=True))).exit_code == 0
    return job.store


def test_there_are_notebooks_and_they_are_listed():
    listed = (ROOT / "notebooks" / "README.md").read_text()
    assert len(NOTEBOOKS) == 6 and all(f"[{path.name}]({path.name})" in listed for path in NOTEBOOKS)


@pytest.fixture(scope="module")
def execute(store):
    """Executes a notebook in the kernel of all, emptied before: what takes long is to load libraries, once."""
    jupytext = pytest.importorskip("jupytext", reason="needs barrage[notebooks]")
    nbclient = pytest.importorskip("nbclient", reason="needs barrage[notebooks]")
    environment = os.environ | {"BARRAGE_STORE": store, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    kernel = importlib.import_module("jupyter_client").KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(ROOT / "notebooks"), env=environment)

    def executed(path):
        notebook = jupytext.read(path)
        notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
        nbclient.NotebookClient(notebook, timeout=PATIENCE, km=kernel).execute()
        return notebook.cells[1:]

    nbformat = importlib.import_module("nbformat")
    yield executed
    kernel.shutdown_kernel(now=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_start_to_end(path, execute):
    cells = [cell for cell in execute(path) if cell.cell_type == "code"]
    assert len(cells) > 1 and all(cell.execution_count for cell in cells)
    assert any(cell.outputs for cell in cells), "a notebook that shows nothing"
    for cell in cells:
        pictures = [out["data"]["image/png"] for out in cell.outputs if "image/png" in out.get("data", {})]
        assert len(pictures) == ("figures.c" in cell.source or "Image(" in cell.source), "each figure is shown, and once"
