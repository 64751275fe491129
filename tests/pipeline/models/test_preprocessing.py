"""Compare the preprocessing of library models with the library's own preset, pixel by pixel."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config.campaign import Data, Model, parse
from pipeline.config.framing import Framing
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.models import architectures, loading
from tests.support import tiny

torchvision = pytest.importorskip("torchvision", reason="needs torchvision: pip install 'barrage[torchvision]'")

SIZES = [(500, 375), (333, 500), (97, 120), (61, 40), (257, 256), (640, 233), (600, 600)]
"""Width and height: wide and tall, larger and smaller than any crop, with odd margins, and a square."""

TORCHVISION = [
    ("resnet50", "IMAGENET1K_V1"), ("resnet50", "IMAGENET1K_V2"), ("inception_v3", "IMAGENET1K_V1"),
    ("swin_t", "IMAGENET1K_V1"), ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"), ("efficientnet_b1", "IMAGENET1K_V2"),
]  # fmt: skip

TIMM = [
    "resnet50.a1_in1k", "inception_v3.tf_adv_in1k", "tf_efficientnet_b0.ns_jft_in1k", "vit_base_patch16_siglip_224.webli",
    "deit3_small_patch16_224.fb_in1k", "mobilenetv3_large_100.ra_in1k", "eva02_tiny_patch14_336.mim_in22k_ft_in1k",
]  # fmt: skip


def picture(size):
    """Return a synthetic picture with sharp edges and fine noise, where every filter gives other pixels."""
    dice = np.random.default_rng(size)
    coarse = Image.fromarray(dice.integers(0, 256, (9, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.NEAREST)
    noise = dice.integers(-40, 40, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))


def ours(model, image):
    """Return an image as the model of a section gets it, (3, crop, crop), normalised."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    pixels = shards.decode(buffer.getvalue(), model.resize, model.crop, model.framing)
    return torchvision.transforms.functional.normalize(torch.from_numpy(pixels).float() / 255, *model.normalisation)


def described(architecture, weights, **data):
    return loading.described(Model(architecture=architecture, weights=weights), Data(shards=["x.tar"], **data))


@pytest.mark.parametrize(("name", "weights"), TORCHVISION)
def test_images_are_those_of_torchvisions_preset(name, weights):
    model, preset = described(f"torchvision:{name}", weights), torchvision.models.get_weight(_enum(name, weights)).transforms()
    for size in SIZES:
        assert torch.equal(ours(model, picture(size)), preset(picture(size))), size


def _enum(name, weights):
    return f"{torchvision.models.get_model_weights(name).__name__}.{weights}"


@pytest.mark.parametrize("name", TIMM)
def test_images_are_those_of_timms_preset(name):
    timm = pytest.importorskip("timm", reason="needs timm: pip install 'barrage[timm]'")
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    model, preset = described(f"timm:{name}", "DEFAULT"), timm.data.create_transform(**config)
    assert model.crop == config["input_size"][-1]
    for size in SIZES:
        assert torch.equal(ours(model, picture(size)), preset(picture(size))), size


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"input_size": (3, 256, 128)}, "images of 128 x 256 px, crop mode center"),
        ({"crop_mode": "border"}, "crop mode border"),
    ],
)
def test_what_is_no_centred_square_is_refused(change, line):
    config = {"input_size": (3, 224, 224), "crop_mode": "center", "crop_pct": 0.9, "interpolation": "bicubic"}
    with pytest.raises(BadInput, match=line):
        architectures._of_timm("timm:x", config | {"mean": (0.5,) * 3, "std": (0.5,) * 3} | change)


def test_every_part_of_the_preset_is_in_the_section_and_what_the_file_says_wins():
    model = described("torchvision:resnet50", "IMAGENET1K_V2")
    assert (model.resize, model.crop, model.framing) == (232, 224, Framing("bilinear", "shorter", "torchvision"))
    own = Model(architecture="torchvision:resnet50", weights="DEFAULT", interpolation="lanczos", rounding="nearest")
    assert loading.described(own, Data(shards=["x.tar"])).framing == Framing("lanczos", "shorter", "nearest")
    sized = described("torchvision:resnet50", "DEFAULT", resize=64, crop=48)
    assert (sized.resize, sized.crop, sized.framing.interpolation) == (None, None, "bilinear"), "the data's own sides stand"


@pytest.mark.parametrize("change", [{"interpolation": "bilinear"}, {"fit": "squash"}, {"rounding": "torchvision"}])
def test_another_framing_is_another_cell(change):
    def cell(**more):
        content = tiny.campaign("x.tar")
        content["models"]["net"] |= more
        return next(parse(content, "c.yaml").grid())

    assert cell(**change).identity != cell().identity
    assert cell(interpolation="bicubic").framing == cell().framing


@pytest.mark.parametrize(("fit", "sides"), [("shorter", (32, 64)), ("squash", (32, 32))])
def test_squash_takes_both_sides_and_shorter_keeps_the_proportion(fit, sides):
    halves = Image.new("RGB", (100, 200), "black")
    halves.paste("white", (0, 0, 100, 50))  # the upper quarter
    buffer = io.BytesIO()
    halves.save(buffer, "PNG")
    white = shards.decode(buffer.getvalue(), 32, 32, Framing("nearest", fit, "torchvision"))[0, :, 0] == 255
    assert white.sum() == (0 if sides[1] == 64 else 8)
