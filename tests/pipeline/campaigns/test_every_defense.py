"""Every kind of defense of a campaign file runs through the engine, and plan, rows, traces, replays and checks ask it alone."""

import math

import numpy as np
import pytest
import torch

from pipeline.analysis.transforms import by_transform
from pipeline.campaigns import check
from pipeline.campaigns.prepare import prepare
from pipeline.campaigns.verification.replay import find, replay
from pipeline.campaigns.verification.verify import verify
from pipeline.config.campaign import parse
from pipeline.config.defenses import DEFENSES
from pipeline.errors import BadInput
from pipeline.planning.cost import cell_weight
from pipeline.reports import image_trace
from pipeline.reports.pictures import stages
from pipeline.store.schema import LATEST
from tests.support import tiny
from tests.support.campaigns import SMALL, decided, of_kind, ran, rows


@pytest.mark.parametrize("kind", DEFENSES.builtin)
def test_a_campaign_of_each_kind_is_the_same_however_it_is_cut(kind, tmp_path, pattern):
    """Other units, another stack; verified, replayed, traced and analysed."""
    job, outcome = ran(of_kind(pattern, kind), tmp_path / "store")
    assert outcome.exit_code == 0 and list(verify(job)) == []
    (cell,) = job.cells.values()
    for row in rows(tmp_path / "store").values():
        assert row["evaluation_draws"] == 3 and row["eot_draws"] == 2 and row["k"] == SMALL[kind].get("k", 0)
        assert row["grad_evals"] == 6 and len(row["adv_top5"]) == 3 and row["linf"] > 0
    _, outcome = ran(of_kind(pattern, kind, unit_images=1, workers={"stack": 1}), tmp_path / "other")
    assert outcome.exit_code == 0
    but = ["unit", *LATEST]  # a network rounds otherwise in another batch
    assert decided(tmp_path / "other", but) == decided(tmp_path / "store", but)

    (row,) = find(job.store, "image1")
    assert not replay(job, row, torch.device("cpu")).differences
    found = by_transform(job.store)
    assert [row["transform"] for row in found.to_dict("records")] == list(cell.defense.build().choices)
    assert found.empty or found["draws"].sum() >= 4 * 3
    assert image_trace.trace(job.store, "image1", tmp_path / "trace.png") == [cell.name]
    assert (tmp_path / "trace.png").stat().st_size > 0
    assert cell_weight(cell) > cell_weight(cell.model_copy(update={"defense": DEFENSES["barrage"](k=0)}))


@pytest.mark.parametrize("kind", DEFENSES.builtin)
def test_the_checks_of_each_kind_ask_what_it_has(kind, pattern):
    (cell,) = parse(of_kind(pattern, kind), "c").grid()
    assert check.chosen(parse(of_kind(pattern, kind), "c"), None) == cell
    every = {found.name: found for found in check.checks(cell)}
    assert {"undefended", "randomness frozen", "planted weakness", "twice the draws", "draws for steps"} <= every.keys()
    policies = kind in ("barrage", "crop_ensemble", "bit_depth", "jpeg", "compose")
    assert ("gradient policies" in every) is policies
    alone = [name.removesuffix(" alone") for name in every if name.endswith(" alone")]
    assert alone == {"barrage": SMALL["barrage"]["transforms"], "compose": ["1-gaussian", "2-barrage"]}.get(kind, [])
    checked = check.campaign_of(parse(of_kind(pattern, kind), "c"), cell, 2)
    assert len({found.identity for found in checked.grid()}) == len(list(checked.grid()))


def test_a_constant_defense_is_judged_by_one_draw_and_has_no_check_of_randomness(pattern):
    (cell,) = parse(of_kind(pattern, "jpeg", defenses={"mine": {"kind": "jpeg"}}), "c").grid()
    assert (cell.judged_by, cell.eot_draws) == (1, 1) and cell.defense.summary == "jpeg"
    assert not {"randomness frozen", "twice the draws"} & {found.name for found in check.checks(cell)}


def test_the_plan_knows_that_crops_are_passes(pattern):
    def weight(**settings):
        (cell,) = parse(of_kind(pattern, "gaussian", defenses={"mine": settings}), "c").grid()
        return cell_weight(cell)

    ratio = weight(kind="crop_ensemble", crops=20) / weight(kind="crop_ensemble", crops=10)
    assert math.isclose(ratio, 2, rel_tol=0.05)
    both = {"kind": "compose", "parts": [{"kind": "tv"}, {"k": 3}]}
    assert weight(**both) > max(weight(kind="tv"), weight(k=3))


def test_settings_that_mean_the_same_judge_the_same(pattern):
    def identities(**settings):
        (cell,) = parse(of_kind(pattern, "gaussian", defenses={"mine": settings}), "c").grid()
        return cell.identity, cell.defended_identity

    one, same = (
        {"kind": "compose", "parts": [{"k": 1, "transforms": names}]} for names in (["jpeg", "zoom"], ["zoom", "jpeg"])
    )
    assert identities(**one)[1] == identities(**same)[1] and identities(**one)[0] != identities(**same)[0]
    assert identities(kind="gaussian", sigma=0.1) != identities(kind="gaussian", sigma=0.2)
    assert identities(kind="jpeg", quality=75) == identities(kind="jpeg", quality=[75, 75])


SIZED = {"architecture": "tests.support.strangers:OfOneSize", "classes": tiny.CLASSES, "mean": [0.5] * 3, "std": [0.25] * 3}

REFUSED = [
    ({"kind": "gausian", "sigma": 1}, "unknown defense kind 'gausian'; did you mean 'gaussian'"),
    ({"kind": "gaussian"}, r"defenses.mine.sigma: is missing"),
    ({"kind": "gaussian", "sigma": 0}, r"defenses.mine.sigma: 0: input should be greater than 0"),
    ({"kind": "gaussian", "sigma": 0.1, "sigmas": 1}, "unknown key; did you mean 'sigma'"),
    ({"kind": "jpeg", "quality": 20}, "quality 20 to 20: expected two numbers of 50 to 100"),
    ({"kind": "bit_depth", "bits": [5, 2]}, "bits 5 to 2: expected two numbers of 1 to 8"),
    ({"kind": "resize_pad", "sizes": [40, 32]}, "sizes 40 to 32: expected two numbers"),
    ({"kind": "compose", "parts": []}, "defenses.mine.parts"),
    ({"kind": "compose", "parts": [{"kind": "crop_ensemble"}, {"k": 1}]}, "calls the classifier itself: put it at the end"),
    ({"kind": "compose", "parts": [{"k": 1, "frozen": True}]}, "part 1 is frozen: leave that out there"),
    ({"kind": "compose", "parts": [{"kind": "compose", "parts": [{"k": 1}]}]}, "parts.0: unknown defense kind 'compose'"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "said"), REFUSED)
def test_a_setting_that_cannot_be_met_is_refused_in_one_line(settings, said, pattern):
    with pytest.raises(BadInput, match=said) as refused:
        parse(of_kind(pattern, "gaussian", defenses={"mine": settings}), "c.yaml")
    assert "\n" not in str(refused.value)


def test_a_model_of_one_size_refuses_larger_images_before_any_work(pattern, tmp_path):
    content = of_kind(pattern, "resize_pad", models={"net": SIZED}, defenses={"mine": {"kind": "resize_pad"}})
    with pytest.raises(
        BadInput, match="defense mine makes 35 px of 32 px, and model net cannot take them .*choose other sizes"
    ):
        prepare(parse(content, "c"), str(tmp_path))
    prepare(parse(of_kind(pattern, "gaussian", models={"net": SIZED}), "c"), str(tmp_path / "fits"))


def test_the_trace_shows_what_each_part_makes(pattern, tmp_path):
    job, _ = ran(of_kind(pattern, "compose"), tmp_path / "store")
    (cell,) = job.cells.values()
    picture = np.full((3, 32, 32), 128, dtype=np.uint8)
    met = stages(cell, ("photos-000000", "image1"), picture)
    assert met[0][0] == "gaussian" and met[1][0] in ("color_precision", "grey_mix")
    assert 15 < met[0][1].astype(float).std() < 40, "the noise is of its sigma, 0.1 of 255"
