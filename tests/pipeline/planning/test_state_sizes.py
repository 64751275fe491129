"""The size of a state against the checkpoints that each kind of attack writes."""

import pytest

from pipeline.config.attacks import KINDS
from pipeline.config.campaign import parse
from pipeline.planning import cost, state_sizes, unit_sizes
from pipeline.store.attempts import Attempts
from tests.support import tiny
from tests.support.campaigns import ran
from tests.support.foreign import NEEDED

KEPT = {
    "pgd": 2, "fgsm": 1, "aggmo": 7, "apgd": 4, "dual_averaging": 2, "standard": 3, "sigma_zero": 4, "lbfgs": 20, "square": 1,
    "spsa": 3, "pop_skip_jump": 2, "noise": 1,
}  # fmt: skip
"""Tensors as large as the image, of each kind."""

SMALL = {
    "standard": {"budget": 20}, "square": {"steps": 4}, "pop_skip_jump": {"steps": 2, "queries": 6},
    "spsa": {"steps": 2, "pairs": 2}, "sigma_zero": {"steps": 4, "eps": 20}, "lbfgs": {"steps": 6, "searches": 2},
}  # fmt: skip
"""Settings that make those kinds short that are long by default."""


def test_every_kind_is_counted():
    assert list(KINDS.builtin) == [*KEPT, *NEEDED]


@pytest.mark.parametrize("kind", KEPT)
def test_a_state_is_as_large_at_its_start_as_in_every_checkpoint(kind, tmp_path, pattern, monkeypatch):
    sizes, save = [], Attempts.save

    def sized(self, head, tensors, watch=lambda: None):
        sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) / len(tensors["x"]))
        return save(self, head, tensors, watch)

    monkeypatch.setattr(Attempts, "save", sized)
    content = tiny.campaign(
        pattern, attacks={"pgd": {"kind": kind, "eps": "8/255"} | SMALL.get(kind, {})}, workers={"checkpoint_seconds": 1e-9}
    )
    content["data"] = content["data"] | {"limit": 2}
    (cell, *_) = parse(content, "c").grid()
    ran(content | {"cells": [{"model": "net", "defense": "none", "attack": "pgd"}]}, tmp_path / "store")
    assert sizes and set(sizes) == {state_sizes.bytes_an_image(cell)}
    assert round(sizes[0] / (12 * cell.crop**2)) == KEPT[kind]


def test_a_unit_has_as_many_images_as_one_checkpoint_may_hold():
    attacks = {kind: {"kind": kind, "eps": "8/255"} for kind in ("pgd", "lbfgs")}
    content = tiny.campaign("x.tar", data={"shards": "x.tar"}, attacks=attacks, unit_images=None, workers={})
    found = parse(content | {"cells": [{"model": "net", "defense": "none", "attack": list(attacks)}]}, "c")
    cells = list(found.grid())

    def sizes(seconds):
        """Bytes of the state of a unit by cell, where an image takes some seconds."""
        rate = {cell.name: cost.of_image(cell) / seconds for cell in cells}
        cuts = unit_sizes.cuts(found, cells, {"x": 10**7}, rate)
        return [cuts[cell.name].images * state_sizes.bytes_an_image(cell) for cell in cells]

    pgd, lbfgs = map(state_sizes.bytes_an_image, cells)
    most, held = unit_sizes.MOST_BYTES, unit_sizes.HELD_BYTES
    assert most - pgd < sizes(1.0)[0] <= most and most - lbfgs < sizes(5.0)[1] <= most
    assert sizes(100.0) == [9 * pgd, 9 * lbfgs], "of a quarter of an hour"
    assert sizes(0.5)[1] == 240 * lbfgs > most, "of two minutes, before a first checkpoint is due"
    assert all(held - each < size <= held for size, each in zip(sizes(0.001), (pgd, lbfgs), strict=True))
