"""Hold the purifier to diffusion of a distribution that is known, and to a denoiser that is trained here."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from bart.defenses import Purifier, RandomModule
from bart.defenses.purifier import kept
from bart.keyed import Code, Keyed
from bart.rng import Mirror
from pipeline.data import shards
from tests.support.images import keys
from tests.support.stochastic import network

SHARD = Path("../shared/data/cifar10/cifar10-train-000000.tar")


def mirror(count, seed=0):
    return Mirror.of(keys(count, seed), "cpu")


class Ideal(nn.Module):
    """The best denoiser of images whose values are N(0, spread^2), independently: what it predicts is a formula."""

    def __init__(self, spread, predicts="noise"):
        super().__init__()
        self.spread, self.predicts, self.kept = spread, predicts, kept("linear")

    def forward(self, x, times):
        share = self.kept[times].view(-1, 1, 1, 1)
        total = share * self.spread**2 + 1 - share
        return (1 - share).sqrt() * x / total if self.predicts == "noise" else share.sqrt() * self.spread**2 * x / total


@pytest.mark.parametrize("predicts", ["noise", "image"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_images_of_the_distribution_stay_of_it(sampler, predicts):
    """Forward and all the way back: the distribution is the same, and most of a strange image's own values are gone."""
    spread = 0.2
    x = (0.5 + 0.5 * spread * torch.randn(400, 1, 4, 4, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    module = Purifier(Ideal(spread, predicts), 400, 400, sampler, predicts=predicts)
    with torch.no_grad():
        y = Keyed()(Code(module, (module,)), x, mirror(400))
    assert abs(float(y.std()) / float(x.std()) - 1) < 0.05 and abs(float(y.mean()) - 0.5) < 0.01
    assert float(torch.corrcoef(torch.stack((x.flatten(), y.flatten())))[0, 1]) < 0.3


def test_one_jump_is_the_mean_of_what_may_be_behind():
    spread, timestep = 0.2, 150
    x = torch.full((4000, 1, 1, 1), 0.6)
    module = Purifier(Ideal(spread), timestep, 150, "once")
    with torch.no_grad():
        y = 2 * Keyed()(Code(module, (module,)), x, mirror(4000)) - 1
    share = float(kept("linear")[timestep - 1])
    gain = share * spread**2 / (share * spread**2 + 1 - share)
    assert float(y.mean()) == pytest.approx(gain * 0.2, abs=0.01)
    assert float(y.std()) == pytest.approx(gain * ((1 - share) / share) ** 0.5, rel=0.05)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_schedule_goes_from_the_image_to_noise(schedule):
    share = kept(schedule)
    assert len(share) == 1000 and (share.diff() < 0).all() and share[0] > 0.999 and share[-1] < 1e-4
    if schedule == "linear":  # Ho et al., 2020, section 4
        assert float(share[499]) == pytest.approx(0.0786, abs=2e-4)


@pytest.mark.parametrize("wrong", [{"timestep": 0}, {"timestep": 10, "steps": 11}, {"sampler": "sde"}, {"predicts": "score"}])
def test_what_cannot_be_is_one_line(wrong):
    with pytest.raises(ValueError, match="expected"):
        Purifier(Ideal(1.0), **wrong)


class Denoiser(nn.Module):
    """A denoiser of 30 kB, with dropout in it that stays on: its draws are keyed too."""

    def __init__(self):
        super().__init__()
        self.time = nn.Linear(2, 16)
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x, times):
        phase = times.float()[:, None] / 1000
        scale = self.time(torch.cat((phase, phase.sqrt()), 1))[:, :, None, None]
        hidden = functional.silu(self.first(x) + scale)
        hidden = functional.dropout(functional.silu(self.middle(hidden)), 0.05, True)
        return self.last(hidden)


@pytest.fixture(scope="module")
def trained():
    """A DDPM of CIFAR-10, a few seconds old, with its images."""
    if not SHARD.is_file():
        pytest.skip(f"{SHARD} is not there: CIFAR-10 as WebDataset shards")
    found = list(shards.read(shards.inspect(str(SHARD)), range(256)))
    x = torch.stack([torch.from_numpy(shards.decode(sample.image, None, 32)) for sample in found]).float() / 255
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, share = Denoiser(), kept("linear")
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(80):
            image, times = 2 * x[torch.randint(len(x), (32,))] - 1, torch.randint(1000, (32,))
            noise, left = torch.randn_like(image), share[times].view(-1, 1, 1, 1)
            loss = functional.mse_loss(model(left.sqrt() * image + (1 - left).sqrt() * noise, times), noise)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.requires_grad_(False), x, float(loss)


def test_a_trained_purifier_rows_its_own_and_its_gradient_exact(trained):
    """Alone as in a batch, bit for bit; checkpointed as not; and one jump removes more than half of the noise."""
    model, x, loss = trained
    assert loss < 0.5, "the denoiser learned nothing"
    net, x, state = network(), x[:6], mirror(6)

    def run(checkpointed, rows):
        defense = RandomModule(lambda: Purifier(model, 60, 4, checkpointed=checkpointed))
        leaf = x[rows].clone().requires_grad_()
        z = defense.logits(net, leaf, state.map(lambda side: side[rows]))
        return z.detach(), torch.autograd.grad(z.square().sum(), leaf)[0]

    z, slope = run(True, [0, 1, 2, 3, 4, 5])
    assert (slope.flatten(1) != 0).any(1).all()
    for rows in ([2], [5, 1], [4, 3, 0]):
        own, found = run(True, rows)
        assert torch.equal(own, z[rows]) and torch.equal(found, slope[rows])
    whole = run(False, [0, 1, 2, 3, 4, 5])
    assert torch.equal(whole[0], z) and torch.equal(whole[1], slope)
    with torch.no_grad():
        purified = RandomModule(lambda: Purifier(model, 150, sampler="once")).apply(x, state)
    left = float(kept("linear")[149])
    assert float((purified - x).square().mean()) < 0.5 * (1 - left) / left / 4, "hardly nearer than the noise that was added"
