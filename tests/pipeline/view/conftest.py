import shutil
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.campaigns import ran


@pytest.fixture
def moved(packed, tmp_path):
    """A store of its own, with shards of its own that a test may damage: (store, folder of shards)."""
    shutil.copytree(packed / "shards", tmp_path / "shards")
    job, _ = ran(tiny.campaign(str(tmp_path / "shards" / tiny.SHARDS)), tmp_path / "store")
    return Path(job.store), tmp_path / "shards"
