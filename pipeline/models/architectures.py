"""Build networks by name, and return the preprocessing that each was made for.

efficientnet_lite0, resnet18_cifar, resnet20_cifar, torchvision:NAME, timm:NAME, package.module:function
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from math import floor
from typing import Any, NamedTuple

from torch import nn

from pipeline.config.campaign import validated
from pipeline.config.framing import Fit, Framing
from pipeline.config.model import Channels, Model
from pipeline.errors import BadInput
from pipeline.models import factories


class Preprocessing(NamedTuple):
    """Hold the normalisation per channel for images in [0, 1], and how they are resized and cropped: the sides in pixels, and
    the rest, where None stands for what release 0.1 did. A function may leave its model's normalisation open."""

    mean: Channels | None
    std: Channels | None
    resize: int | None = None
    crop: int | None = None
    framing: Framing | None = None


IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What most networks were trained with."""

TIMM_FITS: dict[str, Fit] = {"center": "shorter", "squash": "squash"}
"""The crop modes of timm, but for `border`, which pads."""

AUXILIARY = ("inception_v3", "googlenet")
"""Networks of torchvision with further outputs for their own training, and an input transform that their weights expect."""


def network(architecture: str, classes: int, pretrained: str | None = None) -> nn.Module:
    """Return the network of an architecture, with the library's `pretrained` weights or with random weights.

    Raises BadInput if the architecture is unknown, its library is missing, or its weights cannot be fetched.
    """
    kind, _, name = architecture.partition(":")
    if architecture == "efficientnet_lite0":
        return _lite0(classes)
    if architecture in CIFAR:
        return CIFAR[architecture](classes)
    if kind == "torchvision" and name:
        return _torchvision(name, classes, pretrained)
    if kind == "timm" and name:
        return _timm(name, classes, pretrained)
    if name:
        return factories.called(architecture)
    raise BadInput(
        f"architecture {architecture!r}: expected efficientnet_lite0, {', '.join(CIFAR)}, torchvision:NAME, timm:NAME or "
        "module:function"
    )


def of_a_function(architecture: str) -> bool:
    """Return whether an architecture is a function of the user, as `package.module:function`."""
    kind, _, name = architecture.partition(":")
    return bool(name) and kind not in ("torchvision", "timm")


def preprocessing(architecture: str, pretrained: str | None = None) -> Preprocessing:
    """Return the preprocessing that the library or the function of an architecture gives; default: ImageNet's normalisation.

    Raises BadInput if the architecture is unknown or its library is missing.
    """
    kind, _, name = architecture.partition(":")
    if architecture == "efficientnet_lite0":
        return Preprocessing((127 / 255,) * 3, (128 / 255,) * 3, 256, 224)
    if kind == "torchvision" and name:
        library = _library("torchvision", name)
        known = list(library.models.get_model_weights(_known(name, library.models.list_models(), "torchvision")))
        chosen = [weights for weights in known if weights.name == pretrained] or known
        made = chosen[0].transforms() if chosen else None
        if made is not None and hasattr(made, "crop_size"):
            framing = Framing(made.interpolation.value, "shorter", "torchvision")
            return Preprocessing(tuple(made.mean), tuple(made.std), made.resize_size[0], made.crop_size[0], framing)
    if kind == "timm" and name:
        _known(name, _library("timm", name).list_models() + _library("timm", name).list_pretrained(), "timm")
        made = _library("timm", name).get_pretrained_cfg(name)
        if made is not None:
            return _of_timm(architecture, _library("timm.data", name).resolve_data_config(pretrained_cfg=made.to_dict()))
    if of_a_function(architecture):
        return _of_function(architecture)
    return IMAGENET


def _of_function(architecture: str) -> Preprocessing:
    """Return what a function says of its model. Raises BadInput if it says that in other words than a model's section."""
    said = factories.said(architecture)
    own = validated(Model, {**said, "architecture": architecture}, f"{factories.PREPROCESSING} of {architecture}")
    return Preprocessing(own.mean, own.std, own.resize, own.crop, own.framing if {*Framing._fields} & said.keys() else None)


def _of_timm(architecture: str, config: dict[str, Any]) -> Preprocessing:
    """Return what timm's `create_transform` makes of a data configuration. Raises BadInput if it does not crop to squares."""
    _, height, width = config["input_size"]
    if height != width or config["crop_mode"] not in TIMM_FITS:
        raise BadInput(
            f"{architecture} wants images of {width} x {height} px, crop mode {config['crop_mode']}: expected squares, cropped "
            f"by one of {', '.join(TIMM_FITS)}; use another model"
        )
    framing = Framing(config["interpolation"], TIMM_FITS[config["crop_mode"]], "torchvision")
    return Preprocessing(tuple(config["mean"]), tuple(config["std"]), floor(height / config["crop_pct"]), height, framing)


def _lite0(classes: int) -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise BadInput("efficientnet_lite0 needs the demo extra: pip install 'barrage[demo]'") from None
    return EfficientNet.from_name("efficientnet-lite0", num_classes=classes)


def _resnet18_cifar(classes: int) -> nn.Module:
    """Return a ResNet18 for images of 32 px: a stem of one 3x3 convolution, no pooling before the blocks.

    Source: He et al., CVPR 2016.
    """
    made = _library("torchvision", "resnet18").models.resnet18(num_classes=classes)
    made.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(made.conv1.weight, mode="fan_out", nonlinearity="relu")
    made.maxpool = nn.Identity()
    return made


def _resnet20_cifar(classes: int) -> nn.Module:
    """Return a ResNet20 for images of 32 px, 0.27 million weights: three blocks each of 16, 32 and 64 channels.

    Source: He et al., CVPR 2016, section 4.2. Shortcuts that change the shape are 1x1 convolutions.
    """
    block = _library("torchvision", "resnet20").models.resnet.BasicBlock
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        layers += [
            block(before, channels, stride, shortcut if stride > 1 else None),
            *(block(channels, channels) for _ in range(2)),
        ]
        before = channels
    made = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return made


CIFAR: dict[str, Callable[[int], nn.Module]] = {"resnet18_cifar": _resnet18_cifar, "resnet20_cifar": _resnet20_cifar}
"""Networks of this project for images of 32 px, by the number of classes; their weights are trained."""


def _torchvision(name: str, classes: int, pretrained: str | None) -> nn.Module:
    models = _library("torchvision", name).models
    _known(name, models.list_models(), "torchvision")
    more: dict[str, Any] = {"aux_logits": False, "transform_input": True} if name in AUXILIARY else {}
    if pretrained is None:
        return models.get_model(name, weights=None, num_classes=classes, **more)
    known = [weights.name for weights in models.get_model_weights(name)]
    if pretrained not in (*known, "DEFAULT"):
        raise BadInput(
            f"weights {pretrained!r} of torchvision:{name}: expected a file, or one of {', '.join(['DEFAULT', *known])}"
        )
    with _fetched("torchvision", name):
        return models.get_model(name, weights=pretrained, **more)


def _timm(name: str, classes: int, pretrained: str | None) -> nn.Module:
    timm = _library("timm", name)
    _known(name, timm.list_models() + timm.list_pretrained(), "timm")
    if pretrained is None:
        return timm.create_model(name, pretrained=False, num_classes=classes)
    with _fetched("timm", name):
        return timm.create_model(name, pretrained=True)


def _library(library: str, name: str) -> Any:
    try:
        found = importlib.import_module(library)
        if library == "torchvision":
            importlib.import_module("torchvision.models")
        return found
    except ImportError:
        raise BadInput(f"{name} needs {library}: pip install 'barrage[{library}]'") from None


def _known(name: str, known: list[str], library: str) -> str:
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"{library} lists its own with list_models()"
        raise BadInput(f"{library}:{name}: no such model; {hint}")
    return name


@contextmanager
def _fetched(library: str, name: str) -> Iterator[None]:
    """Make PyTorch refuse pickled weights during a download. Raises BadInput if the download fails."""
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise BadInput(
            f"weights of {library}:{name} could not be fetched ({type(error).__name__}: {detail}): go online, or name a file"
        ) from None
    finally:
        if before is None:
            del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        else:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before
