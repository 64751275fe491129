"""Write and read BPDA networks: one weights file for each transform, and a manifest that describes them. Checked before use.

FOLDER/<transform>.safetensors      weights, with their description inside
FOLDER/manifest.json                the description and SHA-256 of every weights file
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from bart import TRANSFORMS, BpdaNet
from bart.bpda.policies import complete
from pipeline.config.attacks import Attack, ByGradient
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput
from pipeline.store import formats
from pipeline.store.layout import Store
from pipeline.store.tensor_files import description

MANIFEST = "manifest.json"
_KEY = "network"
_REMEDY = "restore the folder, or train again with `barrage train`"


@dataclass(frozen=True)
class Entry:
    """Describe a trained network. Errors are mean squared errors over pixels in [0, 1]; cosines are means over images."""

    transform: str
    maxima: dict[str, float]
    """P(t): the transform's parameters that the network gets as input, in order, with the upper ends of their ranges."""
    size: int
    """Side of the images in pixels (`data.crop`)."""
    steps: int
    seed: int
    data: str
    """Hash of the shards."""
    training: str
    """Identity of the training: a hash of what decides the weights."""
    train_error: float
    """Mean error over the last batches of the training."""
    held_out: int
    """Number of images that were kept out of training and could be read."""
    error: float
    """Error on the held-out images."""
    identity_error: float
    """Error of the unchanged image as a guess of the transformed one, on the same images."""
    cosine: float | None
    """Cosine between the network's input gradient and the exact one, for random cotangents; None without an exact one."""
    identity_cosine: float | None
    device: str
    commit: str
    versions: str
    version: int = 1
    """Version of the definition of the transform that the network imitates; release 0.1 did not write it, and knew only 1."""


def file_name(transform: str) -> str:
    """Return the name of a transform's weights file."""
    return f"{transform}.safetensors"


def encode(entry: Entry, weights: dict[str, Tensor]) -> bytes:
    """Return the bytes of a weights file; the same entry and weights make the same bytes."""
    return save_tensors(
        {k: v.cpu().contiguous() for k, v in weights.items()}, {_KEY: json.dumps(formats.stamp() | asdict(entry))}
    )


def entry_of(file: str, data: bytes) -> Entry | None:
    """Return the description inside the weights file `file`, or None if `barrage train` did not write it.

    Raises BadInput, which names `file`, for one of a later format.
    """
    content = description(file, data, _KEY)
    try:
        return Entry(**content) if content else None
    except TypeError:
        return None


def entries(folder: str | Path) -> dict[str, tuple[Entry, str]]:
    """Return {transform: (description, SHA-256)} of the weights files in a folder. Raises BadInput for a later format."""
    networks = {}
    store = Store(folder)
    for file in store.list("*.safetensors"):
        data = store.read(file.name)
        entry = entry_of(f"{folder}/{file.name}", data) if data else None
        if data and entry:
            networks[entry.transform] = entry, hashlib.sha256(data).hexdigest()
    return {name: networks[name] for name in TRANSFORMS if name in networks}


def write_manifest(folder: str | Path) -> None:
    """Write the manifest of the weights files in a folder."""
    networks = [asdict(entry) | {"sha256": sha256} for entry, sha256 in entries(folder).values()]
    Store(folder).replace(MANIFEST, formats.stamped(json.dumps({"networks": networks}).encode()) + b"\n")


def manifest(folder: str | Path) -> dict[str, tuple[Entry, str]]:
    """Return {transform: (description, SHA-256)} of a folder's manifest. Raises BadInput."""
    data = Store(folder).read(MANIFEST)
    if data is None:
        raise BadInput(f"networks {folder}: there is no {MANIFEST}: give the folder that `barrage train` wrote")
    try:
        networks = {}
        for values in formats.bare(f"{folder}/{MANIFEST}", json.loads(data))["networks"]:
            sha256 = values.pop("sha256")
            networks[str(values["transform"])] = Entry(**values), str(sha256)
    except BadInput:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{MANIFEST} of networks {folder} is damaged ({error!r}): {_REMEDY}") from None
    if not networks:
        raise BadInput(f"networks {folder}: the manifest lists no network: wait until `barrage train` has finished one")
    return networks


def _files(folder: str | Path) -> dict[str, bytes]:
    """Return {transform: bytes} of the weights files of a folder. Raises BadInput if they do not match the manifest."""
    files = {}
    for name, (_, sha256) in manifest(folder).items():
        if name not in TRANSFORMS:
            raise BadInput(f"networks {folder} are of an unknown transform {name!r}: {_REMEDY}")
        data = Store(folder).read(file_name(name))
        if data is None:
            raise BadInput(f"networks {folder} lack {file_name(name)}, which their manifest lists: {_REMEDY}")
        actual = hashlib.sha256(data).hexdigest()
        if actual != sha256:
            raise BadInput(f"{folder}/{file_name(name)} has SHA-256 {actual}, the manifest says {sha256}: {_REMEDY}")
        files[name] = data
    return files


def _hash(files: dict[str, bytes]) -> str:
    """Return one SHA-256 for all weights files of a folder."""
    lines = sorted(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def checked(attack: Attack) -> Any:
    """Return the attack with the hash of its networks filled in, or checked if it has one. Raises BadInput."""
    if not isinstance(attack, ByGradient) or attack.networks is None:
        return attack
    actual = _hash(_files(attack.networks))
    if attack.networks_sha256 not in (None, actual):
        raise BadInput(
            f"networks {attack.networks} have the hash {actual}, expected {attack.networks_sha256}: "
            "use the right folder or correct networks_sha256"
        )
    return attack.model_copy(update={"networks_sha256": actual})


def fit(cell: Cell) -> None:
    """Raise BadInput unless the networks of a cell's attack fit its images and transforms, and none is missing."""
    attack = cell.attack
    if not isinstance(attack, ByGradient) or attack.networks is None:
        return
    networks = manifest(attack.networks)
    for name, (entry, _) in networks.items():
        if entry.size != cell.crop:
            raise BadInput(
                f"networks {attack.networks}: {name} is for {entry.size} px, the campaign's data.crop is {cell.crop}: "
                "train networks for that size"
            )
        if entry.version != (now := TRANSFORMS.version(name)):
            raise BadInput(
                f"networks {attack.networks}: {name} imitates version {entry.version} of its definition, this is {now}: "
                "train again, or go on with the release that trained it"
            )
        maxima = dict(TRANSFORMS[name].maxima)
        if list(entry.maxima.items()) != list(maxima.items()):
            raise BadInput(
                f"networks {attack.networks}: {name} takes the parameters {entry.maxima}, expected {maxima}: train again"
            )
    if not attack.transfer:
        try:
            complete(attack.policy, networks, cell.defense.named().get(TRANSFORMS.table, ()))
        except ValueError as error:
            raise BadInput(f"cell {cell.name}, networks {attack.networks}: {error}") from None


def load(folder: str, sha256: str, device: torch.device) -> dict[str, BpdaNet]:
    """Return {transform: network} on a device, frozen and in eval mode. Raises BadInput if the files have another hash."""
    files = _files(folder)
    if _hash(files) != sha256:
        raise BadInput(f"networks {folder} have changed: their hash is not {sha256} any more: restore them")
    return {name: _network(folder, name, data).to(device) for name, data in files.items()}


def _network(folder: str, name: str, data: bytes) -> BpdaNet:
    """Return the network of a transform from the bytes of its file. Raises BadInput."""
    net = BpdaNet(name)
    try:
        net.load_state_dict(load_tensors(data))
    except Exception as error:  # safetensors raises many kinds of error, load_state_dict RuntimeError
        detail = " ".join(str(error).split())[:200]
        raise BadInput(f"{folder}/{file_name(name)} is not a network of {name} ({detail}): {_REMEDY}") from None
    return net.eval().requires_grad_(False)
