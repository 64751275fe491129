import torch

import bart
from bart.attacks.foreign import DISTANCE
from tests.support.linear_models import LABEL, NO_TARGET, behind, images, linear, mirror

CLEAN = (255 * images()).round() / 255


def taken(ball, examples):
    attack = bart.Given(ball)
    state = attack.start(CLEAN, bart.Goal(LABEL, NO_TARGET), mirror())
    assert bart.lanes.over(state, attack) and attack.cost == bart.Cost(0)
    state = attack.taken(state, examples)
    return state, ball.store(attack.result(state), state.clean)


def test_an_example_of_8_bits_in_the_ball_is_judged_as_it_is():
    for norm, eps in (("linf", 8 / 255), ("l2", 0.5)):
        ball = bart.Ball(norm, eps)
        inside = ball.store(ball.start(CLEAN, torch.arange(4)), CLEAN)
        state, stored = taken(ball, inside.float() / 255)
        assert torch.equal(stored, inside)
        torch.testing.assert_close(state.memory[DISTANCE], ball.distance(inside, CLEAN))


def test_an_example_outside_is_moved_to_the_border_and_counted():
    """Shifts of 12 levels and of 4: in L-inf the nearest point of the ball of 8 has 8 and 4, as no scaling has."""
    shift = torch.full_like(CLEAN, 4.0)
    shift[:, :, ::2] = 12
    ball, away = bart.Ball("linf", 8 / 255), CLEAN + shift / 255
    state, stored = taken(ball, away)
    assert torch.equal(stored.float(), ((255 * CLEAN).round() + shift.clamp(max=8)).clamp(max=255))
    assert (state.memory[DISTANCE] > ball.eps + 1e-3).all()


def test_a_float_example_is_rounded_by_the_ball_and_counted_as_rounded():
    """At 8.4 levels it rounds to 8, which is inside; at 8.6 to 9, which is not."""
    ball, grey = bart.Ball("linf", 8 / 255), torch.full_like(CLEAN, 100 / 255)
    attack = bart.Given(ball)
    for level, found in ((8.4, 8), (8.6, 9)):
        state = attack.taken(attack.start(grey, bart.Goal(LABEL, NO_TARGET), mirror()), grey + level / 255)
        torch.testing.assert_close(state.memory[DISTANCE], torch.full((4,), found / 255))
        assert (ball.store(attack.result(state), grey) == 108).all()


def test_its_record_is_a_checkpoint_and_no_step_changes_it():
    attack = bart.Given(bart.Ball("linf", 8 / 255))
    state = attack.taken(attack.start(CLEAN, bart.Goal(LABEL, NO_TARGET), mirror()), CLEAN)
    assert attack.step(state, behind(linear()[0]), 4) is state
    again = bart.State.of(state.tensors(), "cpu")
    assert torch.equal(again.memory[DISTANCE], state.memory[DISTANCE])
