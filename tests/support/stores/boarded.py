"""Synthetic stores whose cells may stand on the board: attacked by the standard attack and by PGD, and checked."""

import json

from pipeline import provenance
from pipeline.board import Submission
from pipeline.campaigns import check
from tests.support.stores import synthetic

ATTACKS = {
    "pgd-standard": {"kind": "standard", "eps": "8/255", "budget": 200},
    "pgd": {"eps": "8/255", "steps": 20, "eot_draws": 10},
}
MODEL = {"resnet50": {"architecture": "torchvision:resnet50", "weights": "resnet50.safetensors", "sha256": "a" * 64}}
SUBMISSION = Submission(by="A Lab", link="https://example.org/x", citation="A, B 2026")
SUBMITTED = ("--dataset", "ImageNet", "--by", "A Lab", "--link", "https://example.org/x", "--citation", "A, B 2026")
"""Options of `barrage board add`."""


def campaign(ks=(5,), attacks=None, **changes):
    """Return a campaign as a mapping: a model with a hash of its weights behind barrages, under both attacks."""
    return synthetic.campaign(ks, attacks or ATTACKS, models=MODEL) | changes


def checked(folder, cell, images=8, **states):
    """Write the checks of a cell, all passed; `states` sets some otherwise, None leaves them out."""
    names = dict.fromkeys(["gradients", "model", *(one.name for one in check.checks(cell))], True) | states
    found = [{"name": name, "passed": state, "figures": "", "why": ""} for name, state in names.items() if state is not None]
    place = folder / "check" / cell.name
    synthetic.store(place, campaign((5,), {"pgd": ATTACKS["pgd"]}), images, images)
    content = {"cell": cell.name, "identity": cell.identity, "checks": found}
    (place / "check.json").write_text(json.dumps(content))


def store(folder, monkeypatch, content=None, images=200, rows=None, commit="c" * 40, **options):
    """Write such a store, with the checks of every cell of the standard attack; `rows` changes the tables of rows. Returns its
    job."""
    monkeypatch.setattr(provenance, "commit", lambda: commit)
    made = synthetic.table
    if rows:
        monkeypatch.setattr(synthetic, "table", lambda cell, unit, images: rows(made(cell, unit, images), cell, unit))
    job = synthetic.store(folder, content or campaign(), images, **options)
    monkeypatch.setattr(synthetic, "table", made)
    for cell in job.cells.values():
        if cell.attack.kind == "standard":
            checked(folder, cell)
    return job
