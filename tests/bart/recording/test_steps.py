"""Check that replays of recorded steps compute, bit for bit, what steps that are queued do, by an imitation of CUDA graphs."""

from dataclasses import dataclass, replace
from unittest.mock import patch

import pytest
import torch
from torch import nn

from bart import Apgd, Ball, Classifier, Defended, Eot, Goal, Mirror, Pgd, lanes, rng
from bart.classifier import Normalised
from bart.defenses import Preprocessor, Undefended
from bart.gradient import gradient
from bart.recording import repeated
from bart.recording.watch import Watch
from tests.support.images import keys, photographs
from tests.support.replays import Log, recording
from tests.support.tiny import Wavy

SIDE, IMAGES, CLASSES = 8, 3, 5
LABEL = torch.tensor([0, 3, 4])
BALL = Ball("linf", 8 / 255)


@dataclass(frozen=True)
class Shaded(Preprocessor):
    """Make images darker, each by its key."""

    random = True

    def draw(self, keys, size, order_keys=None):
        both = (order_keys or keys).device + keys.device
        return rng.uniform(both, "shade", 0.5, 1.0)

    def apply(self, x, draws, policy=None):
        return x * draws[:, None, None, None]

    def recordable(self, x, keys, order_keys=None, policy=None):
        return ()


class Small(Wavy):
    """Classify images of 8 px."""

    def __init__(self):
        super().__init__(CLASSES)


class Reads(Small):
    """Choose a branch by a number that is on the device."""

    def forward(self, x):
        return super().forward(x) if x.mean().item() > -100 else x.flatten(1)[:, :CLASSES]


class Selects(Small):
    """Make a tensor whose shape depends on values."""

    def forward(self, x):
        return super().forward(x) + 0 * x[x > 0].sum()


class Draws(Small):
    """Draw from torch's generator."""

    def forward(self, x):
        return super().forward(x + 0 * torch.rand_like(x))


class Gathers(Small):
    """Index by whole numbers, by which no shape depends on values."""

    def forward(self, x):
        return super().forward(x[:, torch.arange(3, device=x.device).flip(0)])


class Attends(Small):
    """Attend, which draws nothing where nothing is dropped."""

    def forward(self, x):
        rows = x.flatten(1, 2)[:, None]
        return super().forward(nn.functional.scaled_dot_product_attention(rows, rows, rows, dropout_p=0.0))


class Drops(Small):
    """Drop a share of attention, as a network does that is random by intent."""

    def forward(self, x):
        rows = x.flatten(1, 2)[:, None]
        return super().forward(nn.functional.scaled_dot_product_attention(rows, rows, rows, dropout_p=1e-12))


def hooked():
    model = Small()
    model.register_forward_hook(lambda module, inputs, output: output * 1)
    return model


def defended(model=None, defense=None):
    classifier = Classifier(model or Small(), (0.4, 0.5, 0.6), (0.3, 0.2, 0.25), (SIDE, SIDE), folded=False)
    return Defended(classifier, defense or Shaded())


def found(behind, eot, seeds, stack=64, label=LABEL):
    """Return gradients and losses for one seed after another; images and labels change too."""
    x, pairs = photographs(SIDE, SIDE, IMAGES).float(), []
    for seed in seeds:
        goal = Goal(label.roll(seed), label.roll(seed + 1) if seed % 2 else torch.full_like(label, -1))
        pairs.append(gradient(behind, (x * (1 - seed / 50)), goal, Mirror.of(keys(IMAGES, seed), "cpu"), eot, stack))
    return pairs


def same(ours, truth):
    return all(torch.equal(a, b) for pair, other in zip(ours, truth, strict=True) for a, b in zip(pair, other, strict=True))


EOTS = [Eot(4), Eot(4, "margin", "mean_logits"), Eot(4, unit=True), Eot(4, fixed_order=True, frequencies=0.5)]


@pytest.mark.parametrize("eot", EOTS, ids=str)
@pytest.mark.parametrize("stack", [64, 8])
def test_a_replay_computes_what_a_queued_gradient_does(eot, stack):
    behind = defended()
    truth = found(behind, eot, range(6), stack)
    assert not same(truth[:1], truth[1:2])
    with recording() as replays:
        assert same(found(behind, eot, range(6), stack), truth)
    kinds = 1 if stack == 64 else 2  # the last piece has fewer images
    assert len(replays) == kinds and sum(map(len, replays)) >= 4 * kinds


def test_a_recorded_gradient_takes_a_few_operators_however_many_the_network_has():
    class Deep(Small):
        def forward(self, x):
            for _ in range(200):
                x = x.mul(1.001)
            return super().forward(x)

    behind, counts = defended(Deep()), []
    with recording():
        for seed in range(5):
            with Log() as log:
                found(behind, Eot(4), [seed])
            counts.append(len(log.done))
    assert counts[0] > 400 and counts[3] == counts[4] < 60, counts


def test_draws_of_one_image_in_two_passes_are_recorded_where_the_loss_is_a_mean_over_draws():
    for estimator, kinds in (("per_draw", 2), ("mean_logits", 0)):
        behind, eot = defended(), Eot(5, estimator=estimator)
        truth = found(behind, eot, range(4), stack=3)
        with recording() as replays:
            assert same(found(behind, eot, range(4), stack=3), truth)
        assert len(replays) == kinds


@pytest.mark.parametrize(
    "attack", [Pgd(BALL, 9, eot=Eot(3), momentum=0.9), Apgd(BALL, 9, eot=Eot(3))], ids=lambda a: type(a).__name__
)
def test_an_attack_in_lanes_reaches_the_same_examples(attack):
    behind, x = defended(), photographs(SIDE, SIDE, IMAGES).float()

    def run():
        state = attack.start(x, Goal(LABEL, torch.full_like(LABEL, -1)), Mirror.of(keys(IMAGES), "cpu"))
        while not lanes.over(state, attack):
            state = lanes.step(attack, state, behind, 64, width=2, first_break=lanes.Break(2, 3))
        return state.tensors()

    truth = run()
    with recording() as replays:
        ours = run()
    assert sum(map(len, replays)) > 3
    assert all(torch.equal(ours[name], truth[name]) for name in truth)


@pytest.mark.parametrize("model", [Reads, Selects, Draws, Drops, hooked], ids=lambda m: m.__name__)
def test_a_network_that_no_replay_computes_is_queued_with_one_warning(model):
    behind = defended(model())
    truth = found(behind, Eot(2), range(5))
    with recording() as replays, pytest.warns(UserWarning, match="not recorded") as said:
        assert same(found(behind, Eot(2), range(5)), truth)
    assert not replays and len(said) == 1


@pytest.mark.parametrize("model", [Gathers, Attends])
def test_operators_that_only_could_depend_on_values_or_draw_are_recorded(model):
    behind = defended(model())
    truth = found(behind, Eot(2), range(4))
    with recording() as replays:
        assert same(found(behind, Eot(2), range(4)), truth)
    assert len(replays) == 1


def test_numbers_on_the_host_may_be_read_and_none_is_copied_to_the_device():
    with patch("bart.recording.watch.records", lambda x: x.device.type == "meta"), Watch() as watch:
        host = torch.arange(4)
        assert bool(host[host > 1].sum() > 3)
        torch.empty(4, device="meta").add(1).to(torch.float16)
        assert watch.reason is None
        host.to("meta")
        assert "copies between devices" in watch.reason


def test_a_defense_that_does_not_say_what_it_queues_is_not_recorded():
    @dataclass(frozen=True)
    class Silent(Shaded):
        def recordable(self, *arguments, **named):
            return None

    with recording() as replays:
        found(defended(defense=Silent()), Eot(2), range(5))
        assert not replays and not repeated._KEPT
        found(defended(defense=Undefended()), Eot(2), range(5))
    assert len(replays) == 1


def test_weights_that_change_in_place_are_seen_and_weights_that_move_are_recorded_again():
    behind = defended()
    with recording() as replays:
        found(behind, Eot(2), range(4))
        with torch.no_grad():
            behind.classifier.model.second.mul_(-1.5)
        changed = found(behind, Eot(2), range(3))
        assert len(replays) == 1
        behind.classifier.model.second.data = behind.classifier.model.second.data * 2
        moved = found(behind, Eot(2), range(4))
        assert len(replays) == 2
    assert same(found(behind, Eot(2), range(4)), moved)
    behind.classifier.model.second.data /= 2
    assert same(found(behind, Eot(2), range(3)), changed)


def test_a_network_in_another_mode_is_another_kind():
    class Moody(Small):
        def forward(self, x):
            return super().forward(x) * (2 if self.training else 1)

    behind = Defended(Normalised(Moody(), (0.4, 0.5, 0.6), (0.3, 0.2, 0.25)).requires_grad_(False).eval(), Shaded())
    truth = found(behind, Eot(2, "margin"), range(4))
    with recording() as replays:
        assert same(found(behind, Eot(2, "margin"), range(4)), truth)
        behind.classifier.train()
        doubled = found(behind, Eot(2, "margin"), range(4))
    assert len(replays) == 2 and same(doubled, [[2 * part for part in pair] for pair in truth])


def test_three_kinds_are_kept_and_they_share_their_memory():
    behind, eots = defended(), [Eot(2), Eot(2, "margin"), Eot(3), Eot(4)]
    with recording() as replays, patch.object(repeated, "new_memory", lambda: object()):
        for eot in eots:
            found(behind, eot, range(3))
        assert len(replays) == 4 and len(repeated._KEPT) == repeated.MOST
        assert len({id(kept.memory) for kept in repeated._KEPT.values()}) == 1
        found(behind, eots[-1], range(3))
        assert len(replays) == 4


def test_where_memory_ends_records_are_given_up_and_the_work_goes_on():
    behind, other = defended(), defended(Selects())
    truth = found(behind, Eot(2), range(3))
    with recording() as replays, patch("torch.cuda.empty_cache") as emptied:
        found(behind, Eot(2), range(3))
        left = [torch.OutOfMemoryError("no room")]
        logits = Defended.logits

        def scarce(self, *arguments, **named):
            if repeated._KEPT and any(kept.replay for kept in repeated._KEPT.values()) and self is not behind:
                raise left[0]
            return logits(self, *arguments, **named)

        with patch.object(Defended, "logits", scarce), pytest.warns(UserWarning, match="too little memory"):
            found(other, Eot(2), range(1))
        assert emptied.called and not any(kept.replay for kept in repeated._KEPT.values())
        assert same(found(behind, Eot(2), range(3)), truth) and len(replays) == 1, "not recorded again"


def test_without_records_an_end_of_memory_is_an_error_at_once():
    calls = []

    def work():
        calls.append(1)
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        repeated.with_room(work)
    assert len(calls) == 1


def test_a_device_that_cannot_record_goes_on_with_one_warning():
    behind = defended()
    truth = found(behind, Eot(2), range(5))
    with recording():
        refused = patch.object(
            repeated, "recorded", side_effect=RuntimeError("operation not permitted when stream is capturing")
        )
        with refused, pytest.warns(UserWarning, match="not permitted") as said:
            assert same(found(behind, Eot(2), range(5)), truth)
    assert len(said) == 1


def test_another_defense_policy_or_loss_is_another_kind():
    behind = defended()
    with recording() as replays:
        found(behind, Eot(2), range(3))
        found(replace(behind, frozen=True), Eot(2), range(3))
        found(behind, Eot(2, policy="identity"), range(3))
    assert len(replays) == 3
