"""Models as strangers bring them: each has one oddity, on top of the small network of `tests.support.tiny`."""

import os
import random as random_numbers
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune

from tests.support import tiny


class Around(nn.Module):
    """A network with something before and after it."""

    def __init__(self, before=lambda x: x, after=lambda logits: logits):
        super().__init__()
        self.inner, self.before, self.after = tiny.network(), before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def needs_arguments(depth):
    return tiny.network()


def raises():
    raise KeyError("no such\nweights")


class Odd(BaseException):
    """No Exception, as some libraries raise."""


def raises_no_exception():
    raise Odd("stop")


def exits():
    raise SystemExit("usage: train.py DATA")


def one_at_a_time():
    return Around(lambda x: x.view(1, 3, 32, 32))


def pools_the_batch():
    return Around(after=lambda logits: logits.mean(0, keepdim=True))


class TwoArguments(nn.Module):
    def forward(self, x, mask):
        return x


class Sized(nn.Module):
    """Like a vision transformer: it asserts the size of its images."""

    def forward(self, x):
        torch._assert(x.shape[-1] == 224, f"Wrong image height! Expected 224 but got {x.shape[-1]}!")
        return x.mean((2, 3))


class OfOneSize(nn.Module):
    """A network whose last layer has weights for images of 32 px alone."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)  # each call of it makes the same network
            linear = nn.Linear(4 * 15 * 15, tiny.CLASSES)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), linear)

    def forward(self, x):
        return self.layers(x)


def random():
    return Around(lambda x: x + 0.1 * torch.randn_like(x))


def seldom_random():
    """It draws in every pass, and shows it in one of a thousand."""
    return Around(lambda x: x.flip(3) if torch.rand(()) < 1e-3 else x)


def seldom_random_by_numpy():
    return Around(lambda x: x.flip(3) if np.random.rand() < 1e-3 else x)


def seldom_random_by_python():
    return Around(lambda x: x.flip(3) if random_numbers.random() < 1e-3 else x)


class SeldomRandomByItsOwn(nn.Module):
    """It draws from a generator of its own, once a pass."""

    def __init__(self, generator=torch.Generator):
        super().__init__()
        self.inner, self.numbers = tiny.network(), generator()

    def forward(self, x):
        torch.rand((), generator=self.numbers)
        return self.inner(x)


class SeldomRandomByNumpysOwn(SeldomRandomByItsOwn):
    def __init__(self):
        super().__init__(np.random.default_rng)

    def forward(self, x):
        self.numbers.random()
        return self.inner(x)


class SeldomRandomByPythonsOwn(SeldomRandomByNumpysOwn):
    def __init__(self):
        super(SeldomRandomByNumpysOwn, self).__init__(random_numbers.Random)


SYSTEM = random_numbers.SystemRandom()
"""It has no state, so it can't be seen to move."""


def random_by_the_system():
    return Around(lambda x: x + SYSTEM.random())


class Remembering(nn.Module):
    """Keeps a state from pass to pass, as of neurons that fire, and begins anew with another number of images."""

    def __init__(self):
        super().__init__()
        self.network, self.state = tiny.network(), None

    def forward(self, x):
        kept = torch.zeros_like(x) if self.state is None or self.state.shape != x.shape else self.state
        self.state = 0.9 * kept + x
        return self.network(self.state)


def seeded():
    """Its numbers look random, but are the same in each pass: it seeds them."""

    def noisy(x):
        torch.manual_seed(0)
        return x + 0.1 * torch.randn(x.shape[1:])

    return Around(noisy)


def untrained():
    """It has other weights each time it is made."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))


def with_other_pixels_each_time():
    order = torch.randperm(32)
    return Around(lambda x: x[..., order])


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x) if self.training else x


def noise_left_on():
    network = nn.Sequential(Noise(), tiny.network()).eval()
    network[0].train()
    return network


class SeldomNoise(nn.Module):
    def forward(self, x):
        return x.flip(3) if self.training and torch.rand(()) < 1e-6 else x


def seldom_noise_left_on():
    network = nn.Sequential(SeldomNoise(), tiny.network()).eval()
    network[0].train()
    return network


def rrelu_left_on():
    network = nn.Sequential(nn.RReLU(), tiny.network()).eval()
    network[0].train()
    return network


def new_head_with_dropout():
    network = nn.Sequential(tiny.network(), nn.Identity()).eval()
    network[1] = nn.Sequential(nn.Dropout(0.5))
    return network


def changes_its_images():
    return Around(lambda x: x.sub_(0.1))


def new_head():
    network = nn.Sequential(tiny.network(), nn.Identity()).eval()
    network[1] = nn.LeakyReLU()
    return network


def new_stem():
    """Its first convolution, before a BatchNorm in eval mode, is in training mode."""
    network = tiny.network().eval()
    network[0].train()
    return network


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.drop = tiny.network(), nn.Dropout(0.9)

    def forward(self, x):
        return self.inner(self.drop(x))


def dropout_left_on():
    network = Dropping().eval()
    network.drop.train()
    return network


class AlwaysDropping(Dropping):
    def train(self, mode=True):
        super().train(mode)
        self.drop.train()
        return self


def usual_dropout():
    return Dropping()


def frozen_backbone_with_new_head():
    torch.manual_seed(0)
    network = nn.Sequential(tiny.network().eval(), nn.Sequential(nn.Dropout(0.5), nn.Linear(10, 10)))
    return network


def batch_norm_left_on():
    network = tiny.network().eval()
    network[1].train()
    return network


def batch_norm_without_statistics():
    network = tiny.network()
    network[1] = nn.BatchNorm2d(8, track_running_stats=False)
    return network


def batch_dependent():
    return Around(lambda x: (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True))


def dependent_on_larger_batches():
    return Around(lambda x: x.roll(1, 0) if len(x) > 4 else x)


def quantised():
    return Around(lambda x: (x * 8).round() / 8)


def quantised_finely():
    return Around(lambda x: (x * 255).round() / 255)


def binarised():
    return Around(lambda x: (x > 0).float())


class WithoutGradient(Around):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


def detached():
    network = Around()
    network.before = lambda x: x.detach() + 0 * x
    return network


def clamped():
    return Around(after=lambda logits: (1e4 * logits).clamp(-1, 1))


def saturated():
    return Around(after=lambda logits: 1e4 * logits)


def softmax():
    return Around(after=lambda logits: logits.softmax(1))


def sigmoid():
    return Around(after=torch.sigmoid)


def positive_cosines():
    """Its outputs are in [0, 1], but no probabilities: of a few tenths, as cosines of texts and images."""
    return Around(after=lambda logits: 0.2 + 0.02 * logits.tanh())


def log_softmax():
    return Around(after=lambda logits: logits.log_softmax(1))


def nan_weights():
    network = tiny.network()
    network[0].weight.data[0, 0, 0, 0] = torch.nan
    return network


def nan_logits():
    return Around(after=lambda logits: (-1 - logits.square()).sqrt())


def nan_gradient():
    return Around(after=lambda logits: logits + (0 * logits).square().sum(1, keepdim=True).sqrt())


def half():
    return tiny.network().half()


def bfloat16():
    return tiny.network().bfloat16()


def double():
    return tiny.network().double()


def double_inside():
    """It makes tensors of its own precision, so that it runs in double only."""
    return Around(lambda x: x @ torch.eye(32, dtype=torch.float64)).double()


def on_meta():
    return tiny.network().to("meta")


def compiled():
    return torch.compile(tiny.network())


def compiled_inside():
    network = Around()
    network.inner = torch.compile(network.inner)
    return network


def compiled_in_place():
    network = tiny.network()
    network.compile()
    return network


def compiled_by_its_forward():
    network = tiny.network()
    network.forward = torch.compile(network.forward)
    return network


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def reparametrised(change):
    """Its convolutions compute their weights, as by weight normalisation or pruning."""
    network = tiny.network()
    change(network[0])
    return network


def weight_norm():
    return reparametrised(nn.utils.weight_norm)


def weight_norm_of_today():
    return reparametrised(nn.utils.parametrizations.weight_norm)


def spectral_norm():
    torch.manual_seed(0)
    return reparametrised(nn.utils.parametrizations.spectral_norm)


def pruned():
    return reparametrised(lambda layer: prune.l1_unstructured(layer, "weight", 0.3))


def sets_the_process():
    """It changes what holds for the whole process, as many scripts do."""
    warnings.filterwarnings("ignore")
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    os.chdir("/")
    return tiny.network()


class Normalise(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5))

    def forward(self, x):
        return x - self.mean


def normalises():
    return nn.Sequential(Normalise(), tiny.network())


def scripted():
    return torch.jit.script(tiny.network().eval())


def traced():
    return torch.jit.trace(tiny.network().eval(), torch.zeros(1, 3, 32, 32))


class Viewing(nn.Module):
    """It views its features as vectors, which channels-last memory does not allow."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features, self.head = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU()), nn.Linear(4 * 8 * 8, 10)

    def forward(self, x):
        x = self.features(x)
        return self.head(x.view(x.shape[0], -1))


class Constants(nn.Module):
    """It mixes single-precision constants in, which a network in double precision cannot take."""

    def __init__(self):
        super().__init__()
        self.inner = tiny.network()

    def forward(self, x):
        return self.inner(torch.matmul(x, torch.eye(32)))


def knows_itself():
    return tiny.network()


knows_itself.preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "resize": 40, "crop": 32, "interpolation": "bilinear"}  # type: ignore[attr-defined]


def talks_nonsense():
    return tiny.network()


talks_nonsense.preprocessing = {"mean": [123.7, 116.8, 103.9]}  # type: ignore[attr-defined]


class Unhelpful(nn.Module):
    """Its backward pass raises."""

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            raise NotImplementedError("no backward\nhere")

    def __init__(self):
        super().__init__()
        self.inner = tiny.network()

    def forward(self, x):
        return self.inner(self.Broken.apply(x))


class SometimesSaturated(nn.Module):
    """Its logits are so large that their softmax is flat, but only for images whose first pixel is bright."""

    def __init__(self):
        super().__init__()
        self.inner = tiny.network()

    def forward(self, x):
        return self.inner(x) * torch.where(x[:, :1, 0, 0] > 0.5, 1e5, 1.0)
