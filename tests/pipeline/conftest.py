import sys

import pytest
import yaml

from pipeline.__main__ import main
from tests.pipeline import tiny


@pytest.fixture
def shards(tmp_path):
    """A folder of two shards with 5 and 3 images."""
    return tiny.packed(tmp_path)


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
