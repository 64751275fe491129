import sys

import pytest
import yaml

from pipeline.__main__ import main
from pipeline.pack import pack
from tests.pipeline import tiny


@pytest.fixture
def shards(tmp_path):
    """A folder of two shards with 5 and 3 images."""
    images = tmp_path / "images"
    images.mkdir()
    files = []
    for i in range(8):
        path = images / f"image{i}.png"
        path.write_bytes(tiny.picture(i))
        files.append((path, i % tiny.CLASSES))
    pack(files, tmp_path / "shards", "photos", per_shard=5)
    return tmp_path / "shards"


@pytest.fixture
def pattern(shards):
    return str(shards / "photos-{000000..000001}.tar")


@pytest.fixture
def write(tmp_path):
    """Writes a campaign file."""

    def to_file(content, name="campaign.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        return path

    return to_file


@pytest.fixture
def barrage(monkeypatch, capsys):
    """Runs the command in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["barrage", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        found = capsys.readouterr()
        return done.value.code or 0, found.out, found.err

    return call
