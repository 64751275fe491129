"""Count images without a gradient, against counts made by hand."""

import numpy as np
import pytest

from pipeline.scoring.blind import COLUMNS, alarm, blind

ROW = dict(zip(COLUMNS, (20, None, 0, 0, 4, 4, None), strict=True))


@pytest.mark.parametrize(
    ("change", "truth"),
    [
        ({}, False),
        ({"zero_gradients": 20}, True),
        ({"zero_gradients": 10}, True),
        ({"zero_gradients": 9}, False),
        ({"nonfinite_gradients": 20}, True),
        ({"zero_gradients": 5, "nonfinite_gradients": 5}, True),
        ({"zero_gradients": 20, "adv_correct": 1}, True),
        ({"zero_gradients": 20, "adv_correct": 0}, False),  # won: a gradient may vanish afterwards
        ({"zero_gradients": 20, "adv_correct": 0, "target_hits": 3}, True),
        ({"zero_gradients": 20, "target_hits": 4}, False),
        ({"nonfinite_gradients": 20, "adv_correct": 0}, True),  # no gradient is sound that is NaN
        ({"zero_gradients": 2, "first_break": 4}, True),
        ({"zero_gradients": 0, "first_break": 0}, False),  # skipped: it was not attacked
        ({"zero_gradients": None, "nonfinite_gradients": None}, False),  # rows of an early release
    ],
)
def test_an_attack_is_blind_if_half_of_its_steps_had_no_gradient_and_it_did_not_win(change, truth):
    rows = {name: [value, ROW[name]] for name, value in (ROW | change).items()}
    assert blind(rows).tolist() == [truth, False]


def test_of_no_rows_none_is_blind():
    assert blind({name: np.array([]) for name in COLUMNS}).tolist() == []


def test_the_alarm_gives_the_share():
    assert alarm(37, 100) == "37 % of images had no gradient: the attack was blind"
    assert alarm(1, 1000).startswith("0.10 %") and alarm(0, 10) == ""
