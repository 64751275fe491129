import shutil
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking
from pipeline.cli.progress import Reporter
from pipeline.config.campaign import parse
from pipeline.execution import LocalExecutor
from pipeline.store.layout import Store
from tests.support import tiny
from tests.support.campaigns import in_order


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    """A store with eight units of one image in each of two cells, never written to."""
    folder = tmp_path_factory.mktemp("finished")
    tiny.packed(folder)
    content = tiny.campaign(str(folder / "shards" / "photos-{000000..000001}.tar"), unit_images=1)
    content["attacks"]["pgd"]["steps"] = 1
    job = prepare(parse(content, "c.yaml"), str(folder / "store"))
    run(job, LocalExecutor(attacking), Reporter(Console(quiet=True)))
    return folder / "store"


@pytest.fixture
def store(finished, tmp_path):
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture
def folder(store):
    return Path(store.url)


@pytest.fixture(scope="package")
def before(finished):
    """Its rows, sorted."""
    return in_order(finished)
