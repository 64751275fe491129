import shutil
import threading
from pathlib import Path

import pytest

from pipeline.view.server import serving
from pipeline.view.server.app import Stores
from tests.support import tiny
from tests.support.campaigns import ran
from tests.support.stores import synthetic, viewer


@pytest.fixture
def moved(packed, tmp_path):
    """A store of its own, with shards of its own that a test may damage: (store, folder of shards)."""
    shutil.copytree(packed / "shards", tmp_path / "shards")
    job, _ = ran(tiny.campaign(str(tmp_path / "shards" / tiny.SHARDS)), tmp_path / "store")
    return Path(job.store), tmp_path / "shards"


@pytest.fixture
def serve():
    """Starts a server of stores that are read already."""
    running = []

    def start(*stores, page=viewer.PAGE):
        listening = serving.bound(0)
        port = listening.getsockname()[1]
        server = serving.server(Stores(stores), viewer.TOKEN, page)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread, listening))
        return viewer.Server(Stores(stores), port)

    yield start
    for server, thread, listening in running:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="package")
def half(tmp_path_factory):
    """A store of which two thirds are done: nine cells, 66 images in each, of which one failed; never written to."""
    folder = tmp_path_factory.mktemp("half")
    names = [f"class {i}" for i in range(900)]  # of a thousand: some have no name
    content = synthetic.campaign([0, 2, 10])
    synthetic.store(folder, content | {"data": content["data"] | {"classes": names}}, 99, 33, failed=34, units=2)
    return folder


@pytest.fixture(scope="package")
def read(half):
    """The same store, read; never changed."""
    return viewer.watched(half)
