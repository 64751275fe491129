import io

import numpy as np
import torch
from PIL import Image

from bart.transforms import jpeg
from bart.transforms.jpeg import JPEG
from tests.oracles.jpeg import jpeg as oracle
from tests.support.contracts.transforms import assert_contract, assert_fidelity
from tests.support.images import keys, photographs


def test_jpeg_is_libjpeg_to_the_bit_but_for_rare_pixels():
    assert_fidelity(JPEG, oracle, mean=0.02, tail=1.0, seeds=2)
    assert_contract(JPEG)


def test_flat_and_saturated_images_and_the_ends_of_the_range():
    colours = torch.tensor([[0, 0, 255], [255, 0, 0], [0, 255, 0], [0, 0, 0], [255, 255, 255], [200, 30, 77]]) / 255
    flat = colours[:, :, None, None].expand(-1, -1, 33, 49)
    x = torch.cat([flat, (photographs(33, 49) > 0.5).float()])
    for quality in (55, 75, 95):
        y = JPEG.apply(x, {"quality": torch.full((len(x),), quality)})
        truth = [oracle(image.permute(1, 2, 0).double().numpy(), {"quality": quality}) for image in x]
        error = np.abs(y.permute(0, 2, 3, 1).numpy() - np.stack(truth)) * 255
        assert error.mean() < 0.02 and error[: len(flat)].max() < 0.01, f"quality {quality}"


def test_the_image_is_rounded_to_eight_bits_first():
    x = photographs(48, 40)
    params = JPEG.draw(keys(len(x)), (48, 40))
    moved = (x + 0.3 / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)).clamp(0, 1)
    assert torch.equal(JPEG.apply(moved, params), JPEG.apply(x, params))
    levels = JPEG.apply(moved, params) * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


def test_quantisation_tables_are_those_of_libjpeg():
    for quality in range(55, 96):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        truth = vars(Image.open(file))["quantization"]
        for table, standard in enumerate((jpeg.LUMA, jpeg.CHROMA)):
            ours = jpeg._steps(standard, torch.tensor([quality]), torch.zeros(1))
            assert ours.flatten().tolist() == truth[table], f"table {table} at quality {quality}"


def test_draw_reaches_both_ends_uniformly():
    quality = JPEG.draw(keys(8200), (224, 224))["quality"]
    counts = torch.bincount(quality, minlength=96)
    assert counts[:55].sum() == 0 and len(counts) == 96
    assert (counts[55:] - 200).abs().max() < 5 * 200**0.5


def test_gradient_is_the_slope_of_the_codec_over_steps_that_outweigh_its_rounding():
    x = photographs(64, 64) * 0.5 + 0.25
    ramp = torch.linspace(-1, 1, 64)
    waves = torch.stack([ramp[None, :] * ramp[:, None], ramp[None, :].expand(64, 64), (3 * ramp).sin()[:, None].expand(64, 64)])
    params = {"quality": torch.full((4,), 95)}
    for shift in range(3):
        direction = waves.roll(shift, 0)
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((JPEG.apply(leaf, params) * direction).sum(), leaf)
        step = 0.1
        images = [(x + sign * step * direction).permute(0, 2, 3, 1).double().numpy() for sign in (1, -1)]
        up, down = (np.stack([oracle(image, {"quality": 95}) for image in batch]) for batch in images)
        numeric = ((up - down) / (2 * step) * direction.permute(1, 2, 0).numpy()).sum((1, 2, 3))
        torch.testing.assert_close((gradient * direction).sum((1, 2, 3)).double(), torch.from_numpy(numeric), rtol=0.01, atol=0)


def test_gradient_knows_that_fine_chroma_is_lost_and_fine_luma_is_not():
    x = torch.full((1, 3, 32, 32), 0.5)
    params = {"quality": torch.tensor([80])}
    checkerboard = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2 - 1).float()

    def slope(colour: list[float]) -> float:
        direction = torch.tensor(colour)[:, None, None] * checkerboard
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((JPEG.apply(leaf, params) * direction).sum(), leaf)
        return float((gradient * direction).sum() / direction.square().sum())

    assert abs(slope([0.0, -0.344136, 1.772])) < 1e-4
    assert abs(slope([1.0, 1.0, 1.0]) - 1) < 1e-4


def test_gradient_stops_where_the_decoder_overflows():
    x = (photographs(32, 32) > 0.5).float().requires_grad_()
    y = JPEG.apply(x, {"quality": torch.full((4,), 55)})
    assert y.min() >= 0 and y.max() <= 1
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert (gradient.flatten(1).sum(1) < 0.9 * 3 * 32 * 32).all()
