import itertools
from dataclasses import replace

import pytest
import torch
from scipy import stats

from bart import rng
from bart.bpda.policies import combo
from bart.defenses import barrage as module
from bart.defenses.barrage import GREY, Barrage, described
from bart.rng import Mirror
from bart.transforms import BART_25, TRANSFORMS
from bart.types import Gradient, Transform
from tests.support.images import keys, photographs

SIZE = (32, 36)
UNLIKELY = 1e-4
GROUPS = list(dict.fromkeys(TRANSFORMS[name].group for name in BART_25))


def members(group, names=BART_25):
    """Return the transforms of a group."""
    return [name for name in BART_25 if name in names and TRANSFORMS[name].group == group]


def mirror(count, seed=0):
    return Mirror.of(keys(count, seed), "cpu")


def one(key, k, names=BART_25):
    """Return the barrage of one image, written out: [(transform, parameters), ...]."""
    groups = [group for group in GROUPS if members(group, names)]
    chain = []
    for place, group in enumerate(rng.order(key, "groups", len(groups))[0, :k].tolist()):
        inside = members(groups[group], names)
        which = rng.integers(key, "members", 0, len(inside) - 1, (k,))[0, place] if len(inside) > 1 else 0
        transform = TRANSFORMS[inside[which]]
        chain.append((transform, transform.draw(rng.fold(key, transform.name), SIZE)))
    return chain


def clip(x):
    """Clip to [0, 1]; the derivative is 1 inside and at both ends, else 0."""
    inside = (x >= 0) & (x <= 1)
    return torch.where(inside, x, x.detach().clamp(0, 1))


def through(x, chain):
    """Return one image after its barrage, written out."""
    for transform, params in chain:
        x = clip(combo(transform, x, params))
    return x


def image_by_image(transform, x, params):
    """Apply the default policy image by image, so that sorting and unsorting can be compared bit for bit."""
    parts = [{name: value[i : i + 1] for name, value in params.items()} for i in range(len(x))]
    return torch.cat([combo(transform, x[i : i + 1], part) for i, part in enumerate(parts)])


def parameters(draws):
    """Return {(draw, place): (name, {parameter: value})} of a stack."""
    found, at = {}, list(range(len(draws.restore.gather)))
    for place, (permutation, parts) in enumerate(draws.rounds):
        at = [at[i] for i in permutation.gather.tolist()]
        rows = iter(at)
        for name, images, params in parts:
            for row in range(images):
                found[next(rows), place] = name, {n: v[row] for n, v in params.items()}
    return found


def same(a, b):
    return a[0] == b[0] and a[1].keys() == b[1].keys() and all(torch.equal(a[1][n], b[1][n]) for n in a[1])


def test_each_place_is_uniform_over_the_groups_then_over_the_groups_transforms():
    k, count = len(GROUPS), 20_000
    barrage = Barrage(k)
    chosen = barrage.select(keys(count))
    group_of = torch.tensor([GROUPS.index(TRANSFORMS[n].group) for g in GROUPS for n in members(g)])
    for place in range(k):
        if k > 1:
            assert stats.chisquare(torch.bincount(group_of[chosen[:, place]], minlength=k).numpy()).pvalue > UNLIKELY
        for g, group in enumerate(GROUPS):
            here = chosen[:, place][group_of[chosen[:, place]] == g]
            first = int((group_of == g).nonzero()[0])
            counts = torch.bincount(here - first, minlength=len(members(group)))
            assert len(counts) == len(members(group))
            if len(counts) > 1:
                assert stats.chisquare(counts.numpy()).pvalue > UNLIKELY


def test_the_worked_example_of_the_docstrings(monkeypatch):
    """Check the rounds, parts and permutations that `select` and `draw` state for three images and k = 2."""
    barrage = Barrage(2, ("noise", "fft", "grey_mix", "grey_two_thirds"))
    assert barrage.names == ["noise", "fft", "grey_mix", "grey_two_thirds"]
    monkeypatch.setattr(Barrage, "select", lambda self, keys: torch.tensor([[0, 3], [1, 0], [0, 1]]))
    draws = barrage.draw(mirror(3), SIZE)
    assert [[(part.name, part.images) for part in parts] for _, parts in draws.rounds] == [
        [("noise", 2), ("fft", 1)],
        [("noise", 1), ("fft", 1), ("grey_two_thirds", 1)],
    ]
    assert [permutation.gather.tolist() for permutation, _ in draws.rounds] == [[0, 2, 1], [2, 1, 0]]
    assert draws.restore.gather.tolist() == [2, 0, 1]
    assert described(draws) == [["noise", "grey_two_thirds"], ["fft", "noise"], ["noise", "fft"]]


def test_every_ordered_pair_of_groups_is_as_likely_and_no_group_comes_twice():
    chosen = Barrage(2).select(keys(20_000))
    names = [n for g in GROUPS for n in members(g)]
    counts = dict.fromkeys(itertools.permutations(GROUPS, 2), 0)
    for first, second in chosen.tolist():
        counts[TRANSFORMS[names[first]].group, TRANSFORMS[names[second]].group] += 1  # KeyError: a group came twice
    assert stats.chisquare(list(counts.values())).pvalue > UNLIKELY


def test_transforms_of_different_groups_are_chosen_independently():
    several = [g for g in GROUPS if len(members(g)) > 1]
    if len(several) < 2:
        pytest.skip("fewer than two groups of several transforms")
    a, b = several[:2]
    table = torch.zeros(len(members(a)), len(members(b)), dtype=torch.int64)
    for names in described(Barrage(2, (*members(a), *members(b))).draw(mirror(2000), SIZE)):
        inside = {TRANSFORMS[n].group: n for n in names}
        table[members(a).index(inside[a]), members(b).index(inside[b])] += 1
    assert stats.chi2_contingency(table.numpy()).pvalue > UNLIKELY


@pytest.mark.parametrize("k", [1, 2, len(GROUPS)])
def test_draws_are_the_written_out_ones(k):
    draws = Barrage(k).draw(mirror(12), SIZE)
    found = parameters(draws)
    assert len(found) == 12 * k
    for i in range(12):
        chain = one(keys(12)[i : i + 1], k)
        assert described(draws)[i] == [t.name for t, _ in chain]
        for place, (transform, params) in enumerate(chain):
            assert same(found[i, place], (transform.name, {n: v[0] for n, v in params.items()}))


@pytest.mark.parametrize("k", [1, len(GROUPS)])
def test_an_images_draws_do_not_depend_on_its_batch(k):
    state, barrage = keys(9), Barrage(k)
    together = parameters(barrage.draw(Mirror.of(state, "cpu"), SIZE))
    for rows in ([0], [4], [8, 4, 0], [7, 3, 5, 1]):
        some = parameters(barrage.draw(Mirror.of(state[rows], "cpu"), SIZE))
        for at, row in enumerate(rows):
            for place in range(k):
                assert same(some[at, place], together[row, place])


def test_the_host_only_counts_and_sorts():
    """Check that two tensors in a mirror, as on a device, draw what one tensor does."""
    barrage, state = Barrage(len(GROUPS)), keys(6)
    one_side, two_sides = (parameters(barrage.draw(m, SIZE)) for m in (Mirror(state, state), Mirror(state, state.clone())))
    assert one_side.keys() == two_sides.keys() and all(same(one_side[at], two_sides[at]) for at in one_side)


def stack(count):
    """Return photographs with some black and some white pixels, and one image that is constant."""
    x = (photographs(*SIZE).repeat(-(-count // 4), 1, 1, 1)[:count] * 1.4 - 0.2).clamp(0, 1)
    x[-1] = 0.5
    return x


def test_a_stack_comes_out_as_image_by_image_value_and_gradient():
    """Apply all transforms at once, every image with its own, and compare bit for bit."""
    k, x = len(GROUPS), stack(8)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    barrage = Barrage(k)
    leaf = x.clone().requires_grad_()
    y = barrage.apply(leaf, barrage.draw(mirror(8), SIZE), image_by_image)
    (gradient,) = torch.autograd.grad((y * weight).sum(), leaf)
    for i in range(8):
        alone = x[i : i + 1].clone().requires_grad_()
        truth = through(alone, one(keys(8)[i : i + 1], k))
        assert torch.equal(y[i], truth[0])
        assert torch.equal(gradient[i], torch.autograd.grad((truth * weight[i]).sum(), alone)[0][0])


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_each_transform_alone_in_a_barrage_is_itself(name):
    x, state = stack(4), keys(4)
    barrage = Barrage(1, (name,))
    y = barrage.apply(x, barrage.draw(mirror(4), SIZE))
    truth = TRANSFORMS[name].apply(x, TRANSFORMS[name].draw(rng.fold(state, name), SIZE))
    assert torch.equal(y, clip(truth))
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 1


def test_a_saturated_pixel_keeps_its_gradient():
    """Count 0 and 1 as inside [0, 1]: a white pixel can become darker."""
    x = torch.tensor([0.0, 1.0, 0.5]).view(1, 1, 1, 3).expand(2, 3, 4, 3).clone().requires_grad_()
    barrage = Barrage(1, ("color_precision",))
    y = barrage.apply(x, barrage.draw(mirror(2), (4, 3)))
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.ones_like(x))


def affine(name, group, slope, offset, log):
    def draw(keys, size):
        return {"shift": rng.uniform(keys, "shift", 0, 0.01)}

    def apply(x, params):
        log.append((x.min().item(), x.max().item()))
        return slope * x + offset + params["shift"][:, None, None, None]

    return Transform(name, group, draw, apply, Gradient.EXACT)


def test_the_stack_is_clipped_after_every_transform(monkeypatch):
    """Use the closed form of two affine maps that leave [0, 1], for images that meet them in either order."""
    log = []
    fakes = {t.name: t for t in (affine("up", "a", 3.0, 0.5, log), affine("down", "b", 2.0, -1.5, log))}
    monkeypatch.setattr(module, "TRANSFORMS", fakes)
    x = torch.linspace(0, 1, 12).view(1, 3, 2, 2).expand(16, -1, -1, -1).clone().requires_grad_()
    barrage = Barrage(2, ("up", "down"))
    draws = barrage.draw(mirror(16), (2, 2))
    y = barrage.apply(x, draws)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    orders = {tuple(names) for names in described(draws)}
    assert orders == {("up", "down"), ("down", "up")}
    for i, names in enumerate(described(draws)):
        value, slope = torch.linspace(0, 1, 12).view(3, 2, 2), torch.ones(3, 2, 2)
        for name in names:
            shift = rng.uniform(rng.fold(keys(16)[i : i + 1], name), "shift", 0, 0.01)
            value = {"up": 3.0 * value + 0.5, "down": 2.0 * value - 1.5}[name] + shift
            slope = slope * {"up": 3.0, "down": 2.0}[name] * ((value >= 0) & (value <= 1))
            value = value.clamp(0, 1)
        torch.testing.assert_close(y[i], value, rtol=0, atol=1e-6)
        assert torch.equal(gradient[i], slope)
    assert all(low >= 0 and high <= 1 for low, high in log)


def test_groups_are_sorted_by_transform_and_put_back(monkeypatch):
    """Use many images and many groups of several transforms: each image returns to its place, after its own chain."""
    fakes = {
        f"{g}{m}": affine(f"{g}{m}", g, 0.5 + 0.1 * m, 0.02 * i, []) for i, g in enumerate("abcdefg") for m in range(i % 3 + 1)
    }
    monkeypatch.setattr(module, "TRANSFORMS", fakes)
    barrage = Barrage(7, tuple(fakes))
    x = torch.rand(40, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    draws = barrage.draw(mirror(40), (2, 2))
    y = barrage.apply(x, draws)
    for i, names in enumerate(described(draws)):
        assert [n[0] for n in sorted(names)] == list("abcdefg")
        value = x[i : i + 1]
        for name in names:
            value = fakes[name].apply(value, fakes[name].draw(rng.fold(keys(40)[i : i + 1], name), (2, 2))).clamp(0, 1)
        torch.testing.assert_close(y[i : i + 1], value, rtol=0, atol=1e-6)
    assert all(len(parts) == len({name for name, _, _ in parts}) for _, parts in draws.rounds)


def test_no_transform_leaves_the_image_alone():
    x = stack(3)
    draws = Barrage(0).draw(mirror(3), SIZE)
    assert described(draws) == [[], [], []]
    assert torch.equal(Barrage(0).apply(x, draws), x)


def test_the_same_draws_twice_give_the_same_image_and_other_keys_another():
    barrage, x = Barrage(len(GROUPS)), stack(3)
    draws = barrage.draw(mirror(3), SIZE)
    before = x.clone()
    first = barrage.apply(x, draws)
    assert torch.equal(x, before)
    assert torch.equal(barrage.apply(x, draws), first)
    assert not torch.equal(barrage.apply(x, barrage.draw(mirror(3, seed=1), SIZE)), first)


def test_a_fixed_order_is_shared_and_the_parameters_are_not():
    k = len(GROUPS)
    shared = Mirror.of(keys(1, seed=5).repeat(8), "cpu")
    draws = Barrage(k).draw(mirror(8), SIZE, shared)
    names = described(draws)
    assert names == [[t.name for t, _ in one(keys(1, seed=5), k)]] * 8
    found = parameters(draws)
    for place, name in enumerate(names[0]):
        mine = [TRANSFORMS[name].draw(rng.fold(keys(8)[i : i + 1], name), SIZE) for i in range(8)]
        assert all(same(found[i, place], (name, {n: v[0] for n, v in mine[i].items()})) for i in range(8))
        assert not all(same(found[0, place], found[i, place]) for i in range(1, 8)), f"{name} draws one value for all"


def test_subsets_are_drawn_from_what_is_named_only():
    names = tuple(members(group)[-1] for group in GROUPS)[::-1]
    draws = Barrage(len(GROUPS), names).draw(mirror(20), SIZE)
    assert all(sorted(found) == sorted(names) for found in described(draws))
    assert described(Barrage(1, (*names[1:], names[0])).draw(mirror(20), SIZE)) == described(
        Barrage(1, names).draw(mirror(20), SIZE)
    )


def test_every_transform_of_the_article_can_be_drawn():
    found = {name for names in described(Barrage(len(GROUPS)).draw(mirror(150), SIZE)) for name in names}
    assert found == set(BART_25)


def test_unknown_names_are_refused_with_the_nearest_known_one():
    with pytest.raises(ValueError, match="unknown transform 'colour_precision'.*'color_precision'"):
        Barrage(1, ("colour_precision",))
    with pytest.raises(ValueError, match="unknown transform '#'; known are .*color_precision.*zoom"):
        Barrage(1, ("#",))


def test_a_name_given_twice_is_refused():
    name = next(iter(TRANSFORMS))
    with pytest.raises(ValueError, match=f"{name}, {name}"):
        Barrage(1, (name, name))


@pytest.mark.parametrize("k", [-1, len(GROUPS) + 1])
def test_a_k_that_cannot_be_met_is_refused(k):
    with pytest.raises(ValueError, match=f"k = {k}: expected 0 to {len(GROUPS)}"):
        Barrage(k)


def test_k_is_held_against_the_groups_of_the_subset():
    group = max(GROUPS, key=lambda g: len(members(g)))
    Barrage(1, tuple(members(group)))
    with pytest.raises(ValueError, match="k = 2: expected 0 to 1"):
        Barrage(2, tuple(members(group)))


def test_grey_images_have_eight_groups_and_stay_grey():
    x = stack(6)[:, :1]
    barrage = Barrage(8, GREY)
    assert len(GREY) == 25 - 4 - 4
    draws = barrage.draw(mirror(6), SIZE)
    leaf = x.clone().requires_grad_()
    y = barrage.apply(leaf, draws)
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 1 and not torch.equal(y, x)
    (gradient,) = torch.autograd.grad(y.sum(), leaf)
    assert gradient.shape == x.shape and gradient.isfinite().all() and gradient.abs().sum() > 0
    with pytest.raises(ValueError, match=r"grey images and 'hsv'.*bart.GREY"):
        Barrage(2).apply(x, Barrage(2).draw(mirror(6), SIZE))
    with pytest.raises(ValueError, match="k = 9"):
        Barrage(9, GREY)


@pytest.mark.parametrize("name", GREY)
def test_a_grey_image_meets_what_one_channel_would(name):
    """Check that only the first channel's parameters matter: those of the other channels change nothing."""
    x = stack(4)[:, :1]
    barrage = Barrage(1, (name,))
    draws = barrage.draw(mirror(4), SIZE)
    y = barrage.apply(x, draws)
    (part,) = draws.rounds[0].parts
    other = {k: torch.cat([v[:, :1]] * 3, dim=1) if v.dim() == 2 and v.shape[1] == 3 else v for k, v in part.params.items()}
    rounds = [draws.rounds[0]._replace(parts=[part._replace(params=other)])]
    others = replace(draws, arrange=lambda: draws.arranged._replace(rounds=rounds))
    assert torch.equal(barrage.apply(x, others), y)
    assert y.shape == x.shape


def test_the_number_of_transforms_is_uniform_between_the_fewest_and_k():
    keys = Mirror.of(torch.arange(6000), "cpu")
    draws = Barrage(5, fewest=1).draw(keys, (32, 32))
    lengths = torch.tensor([len(names) for names in described(draws)])
    counts = lengths.bincount(minlength=6)
    assert counts[0] == 0 and ((counts[1:] - 1200).abs() < 5 * (6000 * 0.2 * 0.8) ** 0.5).all(), counts
    for fewest in (-1, 6):
        with pytest.raises(ValueError, match="fewest"):
            Barrage(5, fewest=fewest)
    same = Barrage(5, fewest=5).draw(keys, (32, 32))
    assert described(same) == described(Barrage(5).draw(keys, (32, 32)))
