"""Each kind says in which norms it attacks, and refuses the others before any work, in one line."""

import pytest

from pipeline.config.attacks import KINDS
from pipeline.config.campaign import parse
from pipeline.errors import BadInput
from tests.support import tiny
from tests.support.foreign import NEEDED

CHOOSING = [kind for kind in KINDS.builtin if "norm" in KINDS[kind].model_fields]
EVERY = {"linf", "l2", "l1", "l0"}
NORMS = {"apgd": {"linf", "l2", "l1"}, "sigma_zero": {"l0"}, "noise": EVERY, "dual_averaging": EVERY}


def built(**attack):
    campaign = parse(tiny.campaign("x.tar", attacks={"pgd": attack}), "c.yaml")
    return next(campaign.grid()).built


@pytest.mark.parametrize("kind", CHOOSING)
@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_a_kind_attacks_in_its_norms_alone(kind, norm):
    if norm in NORMS.get(kind, {"linf", "l2"}):
        assert built(kind=kind, norm=norm, eps=1, **NEEDED.get(kind, {})).ball.norm == norm
    else:
        instead = {"l1": "; in l1, apgd does", "l0": "; in l0, sigma_zero does"}.get(norm, "")
        with pytest.raises(BadInput, match=rf"pgd\.norm: '{norm}': this kind of attack expects .*{instead}$"):
            built(kind=kind, norm=norm, eps=1, **NEEDED.get(kind, {}))


def test_a_certificate_has_one_norm():
    assert set(KINDS.builtin) - set(CHOOSING) == {"certify"}
    with pytest.raises(BadInput, match="norm: unknown key"):
        built(kind="certify", eps=1, norm="l2")


def test_a_norm_that_does_not_exist_and_half_a_value_are_refused():
    with pytest.raises(BadInput, match="'l7': this kind of attack expects linf or l2"):
        built(norm="l7", eps=1)
    with pytest.raises(BadInput, match=r"eps 2\.5: expected a whole number in l0"):
        built(kind="sigma_zero", eps=2.5)


def test_what_an_attack_sets_itself_is_no_key():
    for kind, key, value in (
        ("sigma_zero", "loss", "ce"),
        ("sigma_zero", "random_start", True),
        ("pop_skip_jump", "eot_draws", 3),
    ):
        with pytest.raises(BadInput, match=f"{key}: unknown key"):
            built(kind=kind, eps=1, **{key: value})
    with pytest.raises(BadInput, match="goal random_target: this attack starts from random images, expected untargeted"):
        built(kind="pop_skip_jump", eps=1, goal="random_target")


def test_settings_reach_the_attack():
    l1 = built(kind="apgd", norm="l1", eps=6, steps=9, loss="margin", random_start=False)
    assert (type(l1).__name__, l1.steps, l1.eot.loss, l1.random_start) == ("ApgdL1", 9, "margin", False)
    l0 = built(kind="sigma_zero", eps=20, steps=9, policy="identity", frequencies=0.5)
    assert (l0.steps, l0.eot.loss, l0.eot.policy, l0.eot.frequencies) == (9, "hinge", "identity", 0.5)
    walk = built(kind="pop_skip_jump", norm="l2", eps=1, steps=3, queries=7)
    assert (walk.steps, walk.queries) == (3, 7)
    for kind in ("pgd", "dual_averaging", "standard"):
        attack = built(kind=kind, eps=0.1, frequencies=0.25)
        assert attack.eot.frequencies == 0.25


def test_all_frequencies_leave_identities_as_they_were():
    cells = [next(parse(tiny.campaign("x.tar", attacks={"pgd": {"eps": 0.1, **more}}), "c").grid()).identity
             for more in ({}, {"frequencies": 1}, {"frequencies": 1.0}, {"frequencies": 0.5})]  # fmt: skip
    assert cells[0] == cells[1] == cells[2] != cells[3]
