"""Check whole barrages in kernels against the eager definition, in Triton's interpreter, and what is recorded and replayed."""

import sys
from contextlib import ExitStack
from unittest.mock import patch

import pytest
import torch

from bart import BART_25, GREY, Barrage, Mirror, dispatch
from bart.bpda.policies import combo, identity
from tests.support.contracts.kernels import TARGETS, assert_compiles, assert_interpreted, images
from tests.support.images import keys

pytest.importorskip("triton")

QUICK = ("color_precision", "noise", "fft", "zoom", "hsv", "yuv", "hist_eq", "contrast_stretch", "grey_mix", "grey_one_channel",
         "mean")  # fmt: skip
"""Transforms of eight groups that the interpreter computes quickly: some keep the image, one has no derivative."""
CASES = ("mixed", "pointwise", "crews", "alone", "fewest", "recorded", "grey", "general")


@pytest.mark.parametrize("case", CASES)
def test_interpreted_passes_equal_the_eager_barrage(case):
    assert_interpreted(__name__, case)


@pytest.mark.parametrize("capability", TARGETS)
@pytest.mark.parametrize(
    ("channels", "names", "own"),
    [
        (3, ("noise", "color_precision", "lab", "grey_mix"), {"_mask_kernel"}),
        (1, ("noise", "color_precision", "jpeg", "zoom"), {"_spread_kernel", "_collect_kernel"}),
    ],
    ids=["coloured", "grey"],
)
def test_kernels_of_work_items_compile(channels, names, own, capability):
    from bart.gpu_kernels.barrage.passes import Pass
    from bart.gpu_kernels.barrage.plan import planned

    def function():
        x, barrage = images(16, 17)[:, :channels].contiguous(), Barrage(4, names)
        made = Pass(planned(barrage, x, True, False, barrage.select(keys(6))), keys(6), keys(6))
        made.backward(made.forward(x))

    assert assert_compiles(function, capability) >= {"_move_kernel", *own}


def _both(barrage, x, mirror, policy=combo):
    """Return the images and their gradient by a barrage."""
    leaf = x.clone().requires_grad_()
    y = barrage.apply(leaf, barrage.draw(mirror, (x.shape[2], x.shape[3])), policy)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    return y.detach(), torch.autograd.grad(y, leaf, cotangent)[0]


def _on_kernels(**more):
    """Return a context in which tensors on the host meet kernels."""
    stack = ExitStack()
    stack.enter_context(patch.object(dispatch, "available", lambda x: x.dtype is torch.float32))
    for place, value in more.items():
        module, name = place.split("__")
        stack.enter_context(patch(f"bart.gpu_kernels.barrage.{module}.{name}", value))
    return stack


def _assert_close(ours, truth):
    """Compare images and gradients: within rounding, but for a value in a hundred that it takes over an edge of a transform."""
    (y, product), (y_truth, product_truth) = ours, truth
    assert ((y - y_truth).abs() > 1e-4).float().mean() < 0.01
    off = (product - product_truth).flatten(1).norm(dim=1) / product_truth.flatten(1).norm(dim=1).clamp_min(1e-6)
    assert off.median() < 1e-3 and off.max() < 0.2, off.tolist()


def _compare(barrage, n=6, size=(16, 19), policy=combo, channels=3, **more):
    """Compare a barrage in kernels with the eager one."""
    x = images(*size)[torch.arange(n) % 6, :channels].contiguous()
    mirror = Mirror.of(keys(n, 3), "cpu")
    truth = _both(barrage, x, mirror, policy)
    with _on_kernels(**more):
        assert not barrage.k or barrage._whole(x, barrage.draw(mirror, size), policy) is not None, "transforms run one by one"
        ours = _both(barrage, x, mirror, policy)
        with torch.no_grad():
            assert torch.equal(barrage.apply(x, barrage.draw(mirror, size), policy), ours[0]), (
                "another value without a gradient"
            )
    _assert_close(ours, truth)
    return ours


def _mixed():
    _compare(Barrage(8, QUICK))
    _compare(Barrage(5, QUICK), size=(33, 16), policy=identity)
    assert any(name not in QUICK for name in BART_25), "transforms are absent from rounds"


def _pointwise():
    """Transforms that share launches give the bits that they give alone, in stacks of their own.

    The eager ones differ in the last bit, and where one leaves two channels nearly alike, another's derivative differs by all.
    """
    from bart.gpu_kernels.pointwise.kernel import KINDS

    barrage, n = Barrage(4, KINDS), 16
    assert barrage.select(keys(n, 3)).unique().numel() == len(KINDS)
    x, mirror = images(16, 17)[torch.arange(n) % 6], Mirror.of(keys(n, 3), "cpu")
    with _on_kernels():
        ours, parts = _both(barrage, x, mirror), _both(barrage, x, mirror, lambda *call: combo(*call))
    assert torch.equal(ours[0], parts[0]) and torch.equal(ours[1], parts[1])


def _crews():
    """Crews of two images compute the bits of one crew; so do slots without images."""
    from bart.gpu_kernels.barrage.passes import Pass
    from bart.gpu_kernels.barrage.plan import planned

    barrage, n = Barrage(4, QUICK), 7
    ours = _compare(barrage, n)
    crews = _compare(barrage, n, plan__CREW=2 * 16 * 19)
    assert all(torch.equal(a, b) for a, b in zip(ours, crews, strict=True))
    x = images(16, 19)[torch.arange(n) % 6]
    made = Pass(planned(barrage, x, True, False, barrage.select(keys(n, 3))), keys(n, 3), keys(n, 3))
    slots, cotangent = made.plan.slots(made.plan.forward), torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert sum(slots[0][0]) > n, "no slot is empty"
    with _on_kernels():
        assert torch.equal(made.forward(x), ours[0]) and torch.equal(made.backward(cotangent), ours[1])


def _alone():
    """One image, every transform: one after another, and in a barrage of one."""
    for name in ("hist_eq", "noise", "zoom"):
        _compare(Barrage(1, (name,)), n=1)
    _compare(Barrage(7, QUICK), n=1)
    x = images(16, 19)
    with _on_kernels():
        none = Barrage(0, QUICK)
        assert torch.equal(none.apply(x, none.draw(Mirror.of(keys(6), "cpu"), (16, 19))), x)


def _fewest():
    _compare(Barrage(4, QUICK, fewest=0), n=8)


def _recorded():
    """A replay, which starts what was recorded, gives the bits of a pass; a pass whose gradient waits is not overwritten."""
    from bart.gpu_kernels.barrage import graphs

    barrage, x, made = Barrage(3, ("noise", "hsv", "zoom", "mean")), images(16, 19), []

    def recorded(device, *works):
        made.append(len(works))
        return works

    mirrors = [Mirror.of(keys(6, seed), "cpu") for seed in range(4)]
    with _on_kernels():
        truth = [_both(barrage, x, mirror) for mirror in mirrors]
    with _on_kernels(graphs__records=lambda x: True, graphs__recorded=recorded):
        for mirror, (y, product) in zip(mirrors, truth, strict=True):
            found = _both(barrage, x, mirror)
            assert torch.equal(found[0], y) and torch.equal(found[1], product)
        assert made == [2], "the second pass is recorded, in both directions, and no other"
        leaves, results = [x.clone().requires_grad_() for _ in range(3)], []
        for leaf, mirror in zip(leaves, mirrors, strict=False):
            results.append(barrage.apply(leaf, barrage.draw(mirror, (16, 19))))
        cotangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        for leaf, result, (y, product) in reversed(list(zip(leaves, results, truth, strict=False))):
            assert torch.equal(result, y) and torch.equal(torch.autograd.grad(result, leaf, cotangent)[0], product)
        assert made == [2]
        del result, results
        assert all(kept.free for kept in graphs._KEPT.values())
        dispatch.release()
        assert not graphs._KEPT

    def unable(device, *works):
        raise RuntimeError("operation not permitted when stream is capturing")

    with (
        _on_kernels(graphs__records=lambda x: True, graphs__recorded=unable),
        pytest.warns(UserWarning, match="not recorded") as said,
    ):
        for mirror, (y, _) in zip(mirrors, truth, strict=True):
            assert torch.equal(_both(barrage, x, mirror)[0], y)
    assert len(said) == 1, "once a kind"


def _grey():
    """Grey images go the same way: what one channel becomes, some of them after fewer rounds, in crews, alone, recorded."""
    from bart.gpu_kernels.barrage import graphs

    quick = tuple(name for name in QUICK if name in GREY)
    barrage = Barrage(5, quick)
    ours = _compare(barrage, n=5, channels=1)
    crews = _compare(barrage, n=5, channels=1, plan__CREW=2 * 16 * 19)
    assert all(map(torch.equal, ours, crews))
    _compare(Barrage(3, quick, fewest=0), size=(21, 16), channels=1)
    _compare(Barrage(2, quick), n=1, policy=identity, channels=1)
    _compare(Barrage(0, quick), channels=1)
    _compare(Barrage(3, ("noise", "jpeg", "tv_chambolle")), n=4, channels=1)  # two that mix channels, one by its parameters

    def recorded(device, *works):
        return works

    with patch.multiple(graphs, records=lambda x: True, recorded=recorded), _on_kernels():
        x, mirror = images(16, 19)[:5, :1].contiguous(), Mirror.of(keys(5, 3), "cpu")
        for _ in range(2):
            assert all(map(torch.equal, ours, _both(barrage, x, mirror)))
        assert any(kept.made for kept in graphs._KEPT.values()), "nothing was recorded"
        with pytest.raises(ValueError, match=r"grey images and 'hsv'.*bart\.GREY"):
            Barrage(2, ("noise", "hsv")).apply(x, Barrage(2, ("noise", "hsv")).draw(mirror, (16, 19)))
        dispatch.release()


def _general():
    """What kernels for whole barrages do not take meets them one by one: doubles, policies with networks."""
    barrage, mirror = Barrage(2, ("noise", "zoom", "mean")), Mirror.of(keys(6, 1), "cpu")
    x, by_network = images(16, 19), lambda *call: combo(*call)
    grey = x[:, :1].contiguous()
    truth = _both(barrage, grey, mirror, by_network)
    with _on_kernels():
        _assert_close(_both(barrage, grey, mirror, by_network), truth)
        assert barrage._whole(x.double(), barrage.draw(mirror, (16, 19)), combo) is None
        for each in (x, grey):
            assert barrage._whole(each, barrage.draw(mirror, (16, 19)), by_network) is None


if __name__ == "__main__":
    globals()[f"_{sys.argv[1]}"]()
