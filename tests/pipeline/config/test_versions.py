"""Hold identities of cells: those of release 0.1 for all that ships, others where a definition has another version."""

import json
from pathlib import Path

import pytest

from pipeline.config.campaign import load

ROOT = Path(__file__).parents[3]
GOLDEN = json.loads(Path(__file__).with_name("identities.json").read_text())
"""Identities of the cells of the shipped campaign files, as the code before versions and registries computed them."""


@pytest.mark.parametrize("campaign", GOLDEN)
def test_cells_of_shipped_campaigns_keep_their_identity(campaign):
    found = {cell.name: cell.identity for cell in load(ROOT / "campaigns" / f"{campaign}.yaml").grid()}
    assert found == GOLDEN[campaign]
