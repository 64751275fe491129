"""Every notebook runs from start to end, on the store of a run."""

import os
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.campaign import parse
from pipeline.executors import Here
from pipeline.job import prepare
from pipeline.pack import pack
from pipeline.progress import Reporter
from pipeline.run import run
from tests.pipeline import tiny

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
    assert run(job, Here(), Reporter(Console(quiet=True))).exit_code == 0
    return job.store


def test_there_are_notebooks_and_they_are_listed():
    listed = (ROOT / "notebooks" / "README.md").read_text()
    assert len(NOTEBOOKS) == 6 and all(f"[{path.name}]({path.name})" in listed for path in NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_start_to_end(path, store, monkeypatch):
    jupytext = pytest.importorskip("jupytext", reason="needs barrage[notebooks]")
    nbclient = pytest.importorskip("nbclient", reason="needs barrage[notebooks]")
    monkeypatch.setenv("BARRAGE_STORE", store)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 1 and all(cell.execution_count for cell in cells)
    assert any(cell.outputs for cell in cells), "a notebook that shows nothing"
