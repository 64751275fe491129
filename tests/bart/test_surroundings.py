"""What surrounds a call leaves draws as they are, or is refused in a line: nothing freezes or changes them in silence."""

import multiprocessing

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

import bart
from bart.defenses import Gaussian
from tests.support.images import keys, photographs

SIDE = 24
X = (255 * photographs(SIDE, SIDE, 4)).round() / 255
LABEL = torch.tensor([0, 1, 2, 3])


def network():
    """Return a convolution and a linear layer, which autocast would run in 16 bits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(54, 10))


CLASSIFIER = bart.Classifier(network(), (0.5,) * 3, (0.25,) * 3, (SIDE, SIDE))
DEFENDED = bart.Defended(CLASSIFIER, bart.Barrage(3, ("noise", "swirl", "jpeg")))
NOISY = bart.Defended(CLASSIFIER, Gaussian(0.1))


def modules():
    """Return modules with draws: shapes of the first one's depend on them, those of the others don't."""
    transform = bart.AsTransform(bart.Barrage(2, ("swirl", "grey_mix")), torch.Generator())
    return bart.FreshDraws(DEFENDED, 7), bart.FreshDraws(NOISY, 7), transform


def half():
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("name", list(bart.TRANSFORMS))
def test_a_transform_is_the_same_inside_autocast(name):
    transform = bart.TRANSFORMS[name]
    params = transform.draw(keys(4), (SIDE, SIDE))

    def made():
        moved = X.clone().requires_grad_(transform.gradient != "none")
        return moved, transform.apply(moved, params)

    moved, plain = made()
    with half():
        moved_there, there = made()
    assert torch.equal(plain, there)
    if moved.requires_grad:
        gradients = [torch.autograd.grad(y.square().sum(), x)[0] for x, y in ((moved, plain), (moved_there, there))]
        assert torch.equal(*gradients)


def test_verdicts_and_draws_for_other_libraries_are_the_same_inside_autocast():
    stored, own = (255 * X).byte(), bart.Mirror.of(keys(4), "cpu")
    plain = bart.judge(DEFENDED, stored, own, 3, 8), bart.FreshDraws(DEFENDED, 7)(X)
    with half():
        there = bart.judge(DEFENDED, stored, own, 3, 8), bart.FreshDraws(DEFENDED, 7)(X)
    assert torch.equal(plain[0].mean, there[0].mean) and torch.equal(plain[1], there[1])


@pytest.mark.parametrize("module", modules(), ids=["barrage", "gaussian", "transform"])
def test_draws_are_never_made_constants(module):
    for made in (
        lambda: torch.export.export(module, (X,)),
        lambda: torch.jit.trace(module, X, check_trace=False),
        lambda: torch.fx.symbolic_trace(module),
    ):
        with pytest.raises(ValueError, match=r"can't be exported or traced: .* Export the classifier alone"):
            made()
    module(X)  # what was refused left no trace


@pytest.mark.parametrize("module", modules(), ids=["barrage", "gaussian", "transform"])
def test_torch_func_is_refused_in_a_line(module):
    for run in (torch.func.vmap(lambda x: module(x[None])), torch.func.grad(lambda x: module(x).sum())):
        with pytest.raises(ValueError, match="can't be differentiated or mapped by torch.func, .* use torch.autograd.grad"):
            run(X)


@pytest.mark.parametrize("module", modules(), ids=["barrage", "gaussian", "transform"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_second_forward_pass_for_the_backward_pass_is_refused(module, reentrant):
    moved = X.clone().requires_grad_()
    made = checkpoint(module, moved, use_reentrant=reentrant)
    with pytest.raises(ValueError, match="was called inside a backward pass, .* leave it out of the checkpoint"):
        made.sum().backward()


def test_a_checkpoint_repeats_a_transform_that_draws_from_torchs_generator():
    """Its gradient is the one without a checkpoint."""
    transform, gradients = bart.AsTransform(bart.Barrage(2, ("noise", "swirl", "grey_mix"))), []
    for run in (transform, lambda x: checkpoint(transform, x, use_reentrant=False)):
        moved = X.clone().requires_grad_()
        torch.manual_seed(3)
        gradients += torch.autograd.grad(run(moved).square().sum(), moved)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_images_in_half_precision_are_refused(kind):
    with pytest.raises(ValueError, match=f"images of {kind}: expected float32"):
        bart.FreshDraws(DEFENDED, 7)(X.to(kind))


def test_a_compiled_module_meets_the_same_draws_and_compiles_none():
    """Graphs of draws would be made anew at every call, of other shapes each time."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    for module, same in zip(modules()[:2], modules()[:2], strict=True):
        compiled = torch.compile(module, backend=backend)
        for _ in range(2):
            moved, plain = (X.clone().requires_grad_() for _ in range(2))
            gradients = [torch.autograd.grad(run(x).square().sum(), x)[0] for run, x in ((compiled, moved), (same, plain))]
            assert torch.equal(*gradients)
        assert module.spent == same.spent
    assert not graphs


class Same(Dataset):
    """Eight times the same image, by a transform with a generator of its own."""

    def __init__(self):
        self.transform = bart.AsTransform(bart.Barrage(2, ("noise", "grey_mix")), torch.Generator().manual_seed(5))

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.transform(X[0])


@pytest.mark.parametrize("persistent", [False, True])
def test_copies_of_a_generator_in_workers_draw_apart_and_anew(persistent):
    def epochs():
        torch.manual_seed(1)
        start = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
        loader = DataLoader(Same(), 4, num_workers=2, multiprocessing_context=start, persistent_workers=persistent)
        return torch.cat([batch.flatten(1) for _ in range(2) for batch in loader])

    seen = epochs()
    assert len(seen.unique(dim=0)) == 16
    assert torch.equal(seen, epochs()), "the seeds of torch and of the generator decide"
