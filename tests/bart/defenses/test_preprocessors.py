"""Hold each kind of defense to its article: a closed form, the authors' description, or another library."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from scipy.optimize import minimize
from skimage import transform

from bart import Classifier, Defended, rng
from bart.defenses import Barrage, BitDepth, Compose, CropEnsemble, Gaussian, Jpeg, ResizePad, TotalVariation
from bart.defenses.preprocessors.scale import Scale
from bart.rng import Mirror
from tests.oracles.jpeg import jpeg as pillow
from tests.support.images import keys, photographs


def mirror(count, seed=0):
    return Mirror.of(keys(count, seed), "cpu")


def even(counts):
    """Return whether counts may be of a uniform choice: chi-square with a false alarm in a million."""
    return stats.chisquare(counts).pvalue > 1e-6


# gaussian


def test_the_noise_is_normal_with_its_sigma_and_independent():
    x = torch.full((400, 3, 16, 16), 0.5)
    defense = Gaussian(0.25)
    noise = (defense.apply(x, defense.draw(mirror(400), (16, 16))) - x) / 0.25
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-6
    rows = noise.flatten(1)
    assert abs(np.corrcoef(rows[::2].flatten(), rows[1::2].flatten())[0, 1]) < 5 / math.sqrt(rows[::2].numel())
    assert abs(np.corrcoef(rows[:, :-1].flatten(), rows[:, 1:].flatten())[0, 1]) < 5 / math.sqrt(rows.numel())


def test_a_linear_model_behind_noise_has_the_law_of_the_closed_form():
    """Its logits are normal, with mean w x and standard deviation sigma |w|: so a class's share follows Phi (Cohen et al.)."""
    side, sigma, draws = 6, 0.3, 20_000
    weight = torch.randn(3 * side * side, generator=torch.Generator().manual_seed(0)) * 0.1
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * side * side, 2))
    model[1].weight.data, model[1].bias.data = torch.stack([weight, -weight]), torch.zeros(2)
    x = photographs(side, side, 1)
    defended = Defended(Classifier(model, (0.0,) * 3, (1.0,) * 3, (side, side)), Gaussian(sigma))
    share = float((defended.logits(x.expand(draws, -1, -1, -1), mirror(draws)).argmax(1) == 0).double().mean())
    expected = float(stats.norm.cdf(float((weight * x.flatten()).sum() / (sigma * weight.norm()))))
    assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / draws)


def test_only_the_clipped_noise_stays_in_the_range():
    x, state = torch.zeros(4, 3, 8, 8), mirror(4)
    bare, clipped = (defense.apply(x, defense.draw(state, (8, 8))) for defense in (Gaussian(0.5), Gaussian(0.5, clip=True)))
    assert float(bare.min()) < 0 and torch.equal(clipped, bare.clamp(0, 1))


# resize_pad


def authors(image, side, top, left, whole, fill):
    """Return what the description says, pixel by pixel: nearest neighbours at floor(i h / side), then padding."""
    h, w = image.shape[1:]
    out = np.full((3, whole, whole), fill, dtype=np.float32)
    for i in range(side):
        for j in range(side):
            out[:, top + i, left + j] = image[:, i * h // side, j * w // side]
    return out


@pytest.mark.parametrize("defense", [ResizePad(), ResizePad(32, 40, fill=0.0), ResizePad(20, 36)])
def test_an_image_is_resized_and_padded_as_the_article_says(defense):
    x = photographs(32, 32, 4)
    drawn = defense.draw(mirror(4), (32, 32))
    made = defense.apply(x, drawn)
    for i in range(4):
        side, top, left = (int(drawn[name][i]) for name in ("side", "top", "left"))
        assert int(drawn["height"][i]) == int(drawn["width"][i]) == side
        np.testing.assert_array_equal(made[i].numpy(), authors(x[i].numpy(), side, top, left, made.shape[-1], defense.fill))


def test_the_patterns_are_those_of_the_article_for_its_size():
    """299 px become 331, by a size of 299..330 and a place for it: 12528 patterns."""
    low, high = ResizePad().sides((299, 299))
    assert (low, high) == (299, 331) and sum((high - side + 1) ** 2 for side in range(low, high)) == 12528
    assert ResizePad().size_after((299, 299)) == (331, 331) and ResizePad().size_after((224, 224)) == (248, 248)
    assert ResizePad().size_after((32, 48)) == (35, 52) and ResizePad().sides((1, 5)) == (1, 2)


def test_sizes_and_places_are_uniform():
    drawn = ResizePad(8, 12).draw(mirror(24_000), (8, 8))
    side, top, left = (drawn[name] for name in ("side", "top", "left"))
    assert even(torch.bincount(side - 8, minlength=4)) and int(side.max()) == 11
    for size in range(8, 12):
        places = (top * (13 - size) + left)[side == size]
        assert even(torch.bincount(places, minlength=(13 - size) ** 2)), f"places of size {size}"


def test_its_gradient_counts_how_often_a_pixel_is_shown():
    x = photographs(8, 8, 3).requires_grad_()
    defense = ResizePad(8, 14)
    drawn = defense.draw(mirror(3), (8, 8))
    (slope,) = torch.autograd.grad(defense.apply(x, drawn).sum(), x)
    for i, side in enumerate(drawn["side"].tolist()):
        shown = np.bincount([k * 8 // side for k in range(side)], minlength=8)
        np.testing.assert_array_equal(slope[i].numpy(), np.broadcast_to(np.outer(shown, shown), (3, 8, 8)))


# crop_ensemble


def test_the_probabilities_of_enlarged_crops_are_averaged():
    x, defense, size = photographs(20, 28, 2), CropEnsemble(5, 0.5), (20, 28)
    drawn = defense.draw(mirror(2), size)
    seen = []

    def classifier(y):
        seen.append(y)
        return y.mean((2, 3)) * 40

    found = defense.logits(classifier, x, drawn)
    assert seen[0].shape == (10, 3, *size)
    chances = np.zeros((2, 3))
    for i, (left, right, top, bottom) in enumerate(drawn["margin"].tolist()):
        assert 28 - left - right == 14 and 20 - top - bottom == 10
        window = x[i // 5].permute(1, 2, 0).numpy()[top : 20 - bottom, left : 28 - right]
        np.testing.assert_allclose(seen[0][i].permute(1, 2, 0), transform.resize(window, size, order=1), atol=2e-6)
        z = seen[0][i].mean((1, 2)).double().numpy() * 40
        chances[i // 5] += np.exp(z) / np.exp(z).sum() / 5
    np.testing.assert_allclose(found.exp().numpy(), chances, rtol=1e-4)


def test_the_article_s_crops_are_90_of_224_pixels_at_uniform_places():
    margin = CropEnsemble().draw(mirror(300), (224, 224))["margin"]
    assert len(margin) == 9000 and (224 - margin[:, :2].sum(1) == 90).all() and (224 - margin[:, 2:].sum(1) == 90).all()
    for first in (margin[:, 0], margin[:, 2]):
        assert even(torch.bincount(first, minlength=135))
    few = CropEnsemble(3, 0.5).draw(mirror(30_000), (6, 6))["margin"].view(-1, 3, 4)
    assert even(torch.bincount(few[:, 0, 0] * 4 + few[:, 1, 0], minlength=16)), "the crops of a draw are independent"


def test_logits_of_sure_classes_stay_finite():
    drawn = (defense := CropEnsemble(2, 0.5)).draw(mirror(1), (8, 8))
    assert defense.logits(lambda y: torch.tensor([[900.0, 0.0]] * len(y)), photographs(8, 8, 1), drawn).isfinite().all()


# bit_depth, jpeg


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_bits_are_those_of_feature_squeezing(bits):
    x, defense = photographs(16, 16, 4), BitDepth(bits, bits)
    levels = 2**bits - 1
    expected = np.round(x.numpy() * levels) / levels
    np.testing.assert_allclose(defense.apply(x, defense.draw(mirror(4), (16, 16))), expected, atol=1e-6)


@pytest.mark.parametrize("quality", [50, 75, 100])
def test_jpeg_is_that_of_pillow(quality):
    x, defense = (photographs(24, 32, 3) * 255).round() / 255, Jpeg(quality, quality)
    made = defense.apply(x, defense.draw(mirror(3), (24, 32)))
    for image, found in zip(x, made, strict=True):
        other = pillow(image.permute(1, 2, 0).numpy(), {"quality": quality})
        assert np.abs(found.permute(1, 2, 0).numpy() - other).mean() < 1e-4


@pytest.mark.parametrize(("defense", "low", "high"), [(BitDepth(2, 6), 2, 6), (Jpeg(55, 62), 55, 62)])
def test_the_number_is_drawn_uniformly_and_its_ranges_are_the_choices(defense, low, high):
    drawn = defense.draw(mirror(20_000), (8, 8))
    values = drawn[defense.scale.what]
    assert even(torch.bincount(values - low, minlength=high - low + 1)) and int(values.min()) == low
    assert values.tolist()[:50] == [
        value for value, (name,) in zip(values.tolist()[:50], defense.parts(drawn)[:50], strict=True) if _within(value, name)
    ]


def _within(value, name):
    ends = name.split()[1].split("-")
    return int(ends[0]) <= value <= int(ends[-1])


@pytest.mark.parametrize(("low", "high"), [(1, 2), (55, 95), (0, 4), (3, 9), (7, 7)])
def test_ranges_cover_every_number_once(low, high):
    scale = Scale("n", low, high)
    if low == high:
        assert scale.names == ()
        return
    found = [scale.name_of(value) for value in range(low, high + 1)]
    assert tuple(dict.fromkeys(found)) == scale.names and all(map(_within, range(low, high + 1), found))
    lengths = [found.count(name) for name in scale.names]
    assert len(lengths) <= 5 and max(lengths) - min(lengths) <= 1


# tv


def objective(z, x, kept, weight):
    """Return what Guo et al. minimise, of one channel, with the norms rounded at 0 by 1e-6 so that it has a slope."""

    def norm(squares):
        return np.sqrt(squares + 1e-12)

    rows, columns = np.square(np.diff(z, axis=0)).sum(1), np.square(np.diff(z, axis=1)).sum(0)
    return norm(np.square(kept * (z - x)).sum()) + weight * (norm(rows).sum() + norm(columns).sum())


@pytest.mark.parametrize("weight", [0.03, 0.2, 2.0])
def test_the_filled_image_minimises_the_objective_of_the_article(weight, monkeypatch):
    """SciPy's minimiser of it is no better, once there are steps enough for an image as small as this."""
    monkeypatch.setattr("bart.defenses.preprocessors.total_variation.STEPS", 1000)
    x = photographs(6, 8, 1)
    defense = TotalVariation(0.5, weight)
    drawn = defense.draw(mirror(1), (6, 8))
    made = defense.apply(x, drawn)[0].double().numpy()
    kept = (rng.field(drawn["seed"], (3, 6, 8)) < 0.5).double().numpy()[0]
    for own, image, mask in zip(made, x[0].double().numpy(), kept, strict=True):

        def value(z, image=image, mask=mask):
            return objective(z.reshape(6, 8), image, mask, weight)

        best = min(minimize(value, start.ravel(), options={"maxiter": 300}).fun for start in (own, image))
        assert value(own) <= 1.002 * best


@pytest.mark.parametrize("side", [32, 96])
def test_a_hundred_steps_are_enough(side, monkeypatch):
    x, defense = photographs(side, side, 2), TotalVariation()
    drawn = defense.draw(mirror(2), (side, side))
    kept = (rng.field(drawn["seed"], (3, side, side)) < 0.5).double().numpy()
    made = defense.apply(x, drawn).double().numpy()
    monkeypatch.setattr("bart.defenses.preprocessors.total_variation.STEPS", 800)
    best = defense.apply(x, drawn).double().numpy()
    for i in range(2):
        for c in range(3):
            found, least = (objective(z[i, c], x[i, c].double().numpy(), kept[i, c], 0.03) for z in (made, best))
            assert found <= 1.01 * least
    assert np.abs(made - best).mean() < 0.01


def test_values_are_kept_with_their_probability():
    drawn = TotalVariation(0.3).draw(mirror(200), (8, 8))
    kept = (rng.field(drawn["seed"], (3, 8, 8)) < 0.3).sum()
    assert abs(int(kept) - 0.3 * 200 * 192) < 5 * math.sqrt(0.3 * 0.7 * 200 * 192)


# compose


def test_a_composition_does_one_after_the_other_with_keys_of_its_own():
    x, state = photographs(16, 16, 4), mirror(4)
    first, second = Gaussian(0.1), Gaussian(0.1)
    both = Compose((first, second, ResizePad()))
    drawn = both.draw(state, (16, 16))
    alone = ResizePad().apply(second.apply(first.apply(x, drawn[0]), drawn[1]), drawn[2])
    assert torch.equal(both.logits(lambda y: y.flatten(1), x, drawn), alone.flatten(1))
    noise = [(defense.apply(x, d) - x).flatten().numpy() for defense, d in zip((first, second), drawn, strict=False)]
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 5 / math.sqrt(len(noise[0])), "two parts share their noise"


def test_a_composition_draws_for_the_size_that_each_part_gets_and_shares_the_order():
    both = Compose((ResizePad(16, 24), CropEnsemble(1, 0.5)))
    assert int(both.draw(mirror(400), (16, 16))[1]["margin"].sum(1).max()) == 24  # half of 24 px, on both axes
    barrage = Compose((Gaussian(0.1), Barrage(2, ("color_precision", "grey_mix", "gaussian_blur"))))
    shared = mirror(1).map(lambda side: side.expand(8))
    assert len({tuple(names) for names in barrage.parts(barrage.draw(mirror(8), (8, 8), shared))}) == 1


# all


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gaussian(-0.1), "sigma = -0.1"), (lambda: Gaussian(math.nan), "sigma = nan"),
        (lambda: ResizePad(32), "one size alone"), (lambda: ResizePad(40, 40), "sizes 40 to 40"),
        (lambda: ResizePad(fill=2.0), "fill = 2"), (lambda: CropEnsemble(0), "crops = 0"),
        (lambda: CropEnsemble(3, 1.5), "share = 1.5"), (lambda: BitDepth(0, 3), "bits 0 to 3"),
        (lambda: BitDepth(4, 3), "bits 4 to 3"), (lambda: Jpeg(20, 80), "quality 20 to 80"),
        (lambda: TotalVariation(0.0), "keep = 0"), (lambda: TotalVariation(0.5, 0.0), "weight = 0"),
        (lambda: Compose(()), "composition of nothing"), (lambda: Compose((CropEnsemble(), Jpeg())), "put it at the end"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_met_is_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_grey_images_meet_what_the_first_channel_would():
    x, state = photographs(16, 16, 3)[:, :1], mirror(3)
    for defense in (Gaussian(0.1), BitDepth(2, 4), TotalVariation(), ResizePad()):
        drawn = defense.draw(state, (16, 16))
        grey, coloured = defense.apply(x, drawn), defense.apply(x.expand(-1, 3, -1, -1), drawn)
        assert torch.equal(grey, coloured[:, :1])
    y = Jpeg().apply(x, Jpeg().draw(state, (16, 16)))
    pixels = Image.fromarray((x[0, 0] * 255).round().byte().numpy())
    assert y.shape == x.shape and np.abs(np.asarray(pixels) / 255 - y[0, 0].numpy()).mean() < 0.05
