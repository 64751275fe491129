"""Run campaigns on code that is random by itself: judged rightly, resumed exactly, and by the `barrage` command too."""

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.campaigns.verification.verify import verify
from pipeline.cli.app import app
from tests.support import tiny
from tests.support.campaigns import decided, ran, rows

LUCKY = {"architecture": "tests.support.stochastic:lucky", "classes": tiny.CLASSES}
NOTHING = {"kind": "noise", "eps": "1/255", "steps": 1, "eot_draws": 1}


def campaign(pattern, model, defense, attack, **changes):
    content = tiny.campaign(pattern, models={"net": model}, defenses={"mine": defense}, attacks={"any": attack})
    content |= {"cells": [{"model": "net", "defense": "mine", "attack": "any"}]}
    content["data"] = content["data"] | {"limit": 4}
    return content | changes


def test_a_model_that_is_wrong_in_a_fifth_of_its_draws_is_judged_so(pattern, tmp_path):
    """It answers by the mean of the image: so for each image one class comes in four draws of five, whatever the label is."""
    content = campaign(pattern, LUCKY, {"kind": "module"}, NOTHING, evaluation_draws=400)
    _, outcome = ran(content, tmp_path)
    assert outcome.exit_code == 0
    for row in rows(tmp_path).values():
        first = [classes[0] for classes in row["clean_top5"]]
        most = max(set(first), key=first.count)
        assert abs(first.count(most) / 400 - 0.8) < 0.08 and set(first) == {most, (most + 1) % tiny.CLASSES}
        assert row["clamps"] == "straight-through"


def test_frozen_randomness_falls(pattern, tmp_path):
    model = {"architecture": "tests.support.stochastic:noisy_network", "classes": tiny.CLASSES}
    attack = {"eps": "64/255", "steps": 10, "step_size": "16/255", "eot_draws": 1}
    _, outcome = ran(campaign(pattern, model, {"kind": "module", "frozen": True}, attack), tmp_path)
    assert outcome.exit_code == 0
    assert [row["adv_correct"] for row in rows(tmp_path).values()] == [0] * 4


@pytest.mark.parametrize("module", [None, "tests.support.stochastic:noise", "tests.support.stochastic:dimmed"])
def test_rows_are_the_same_however_a_campaign_is_cut(pattern, tmp_path, module):
    model = {"architecture": "tests.support.stochastic:noisy_network", "classes": tiny.CLASSES}
    model = model if module is None else {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES}
    defense = {"kind": "module"} | ({"module": module} if module else {})
    attack = {"eps": "8/255", "steps": 3, "step_size": "4/255", "eot_draws": 3}
    job, outcome = ran(campaign(pattern, model, defense, attack), tmp_path / "store")
    assert outcome.exit_code == 0 and list(verify(job)) == []
    for name, changes in {"units": {"unit_images": 1}, "stack": {"workers": {"stack": 7}}}.items():
        _, outcome = ran(campaign(pattern, model, defense, attack, **changes), tmp_path / name)
        assert decided(tmp_path / name, ["unit"]) == decided(tmp_path / "store", ["unit"])


def test_the_command_runs_verifies_and_replays_one(pattern, tmp_path):
    content = campaign(pattern, {"architecture": "tests.support.tiny:network", "classes": tiny.CLASSES},
                       {"kind": "module", "module": "tests.support.stochastic:noise"},
                       {"eps": "8/255", "steps": 2, "step_size": "4/255", "eot_draws": 2})  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    allowed = ["--allow-module", "tests.support"]
    for words in (
        ["run", str(tmp_path / "c.yaml"), "--store", str(tmp_path / "store"), "--here", *allowed],
        ["verify", str(tmp_path / "store"), *allowed],
        ["replay", str(tmp_path / "store"), "image1", *allowed],
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert "the same row" in done.output
