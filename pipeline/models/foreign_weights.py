"""Load weights files of other programs into a network, whatever the programs wrapped them in."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pipeline.errors import BadInput, Remark, one_line
from pipeline.models import normalisers
from pipeline.models.weights_files import ALONE, kind, read

NESTED = (
    "state_dict", "model", "model_state_dict", "model_state", "net", "network", "weights", "params",
    "ema", "model_ema", "state_dict_ema", "ema_state_dict", "module",
)  # fmt: skip
"""Keys under which checkpoints of other programs store the weights, the first of them counts: plain ones before averages."""

PREFIXES = ("module.", "model.", "net.", "network.", "timm_model.", "backbone.", "head.")
"""What data-parallel training, trainers and libraries put before the names of weights; the last two are OpenMMLab's."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What wrappers put before the names of weights, and inside them where they wrap a part of a network."""

COPY = "attacker."
"""What the library robustness puts before a second copy of all weights."""

COUNTS = ("n_averaged",)
"""Numbers that torch's averages of weights store among them."""

SHOWN = 3
"""Keys of a file that are shown."""


def load_into(network: nn.Module, path: Path) -> list[normalisers.Colours]:
    """Load a weights file into a network, and report what was unwrapped; auxiliary heads that it lacks are skipped.

    Returns how layers before the network normalise colours, which some programs store with the weights. Raises BadInput if the
    file holds no weights, if they do not fit, or if any is not a number.
    """
    wanted = network.state_dict()
    state, levels = _unnested(read(path))
    named, prefixes = _without_prefixes(state, wanted, path)
    named, colours = normalisers.taken(named, wanted)
    named = {name: value for name, value in named.items() if name in wanted or not _passed_over(name)}
    for name, own in wanted.items():
        if name in named and (wrong := _unusable(named[name], own)):
            raise BadInput(f"weights {path}, {name}: {wrong}; {_keys(state)}")
    try:
        network.load_state_dict(named)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BadInput(f"weights {path} do not fit the architecture: {_misfit(named, wanted, error)}; {_keys(state)}") from None
    inside = f" from inside {' / '.join(levels)}" if levels else ""
    without = f" without {' '.join(prefixes)}" if prefixes else ""
    if levels or prefixes:
        warnings.warn(f"weights {path} are taken{inside}{without}; {_keys(state)}", Remark, stacklevel=2)
    return colours


def finite(network: nn.Module, what: str) -> None:
    """Raise BadInput if a weight of a network is no finite number or not made yet, or one of its buffers is NaN."""
    if lazy := [name for name, value in network.named_parameters() if is_lazy(value)]:
        raise BadInput(
            f"{what} has no weights yet in {lazy[0]}, which is lazy: pass an image through the model in the function"
        )
    broken = [name for name, value in network.named_parameters() if not torch.isfinite(value).all()]
    broken += [name for name, value in network.named_buffers() if torch.isnan(value).any()]  # masks hold infinite values
    if broken:
        raise BadInput(f"{what} has NaN or infinite values in {broken[0]}: its training diverged, use an earlier checkpoint")


def _passed_over(name: str) -> bool:
    """Return whether a value that a network lacks is none of its weights."""
    return name in COUNTS or name.startswith(("AuxLogits.", "aux"))


def _unusable(value: Any, own: Tensor) -> str:
    """Return in words why a value of a file can't be the weight or buffer `own`; empty if it can, but for its shape."""
    if not isinstance(value, Tensor):
        return f"{kind(value)} in place of a tensor: {ALONE}"
    if type(value) not in (Tensor, nn.Parameter):
        return f"tensors of the kind {kind(value)}, which need code: save plain ones, as of full_tensor() or dequantize()"
    if value.is_quantized or value.layout != torch.strided or value.is_meta:
        what = value.dtype if value.is_quantized else "meta" if value.is_meta else value.layout
        return f"tensors that are {str(what).removeprefix('torch.')}: save plain ones, as of dequantize() or to_dense()"
    if own.is_floating_point() and not value.is_floating_point():
        what = str(value.dtype).removeprefix("torch.")
        return f"{what} in place of real numbers, as of quantised weights: save those that they stand for"
    return ""


def _unnested(state: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the weights from inside the mappings of other programs, and the keys under which they were."""
    levels: list[str] = []
    while isinstance(state, Mapping) and (
        level := next((name for name in NESTED if isinstance(state.get(name), Mapping)), None)
    ):
        state, levels = state[level], [*levels, level]
    if not isinstance(state, Mapping):
        return {}, levels  # fits no network, so loading it fails with a message
    return {str(name): value for name, value in state.items()}, levels


def _without_prefixes(state: Mapping[str, Any], wanted: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the weights by the names that a network has, and the prefixes that had to go for it.

    Raises BadInput if a file holds two weights of one name, as of a student and a teacher, unless one is an equal copy.
    """
    gone: dict[str, None] = {}
    found: dict[str, str] = {}
    possible = (*PREFIXES, COPY, *([normalisers.SECOND] if normalisers.is_first_of_two(state) else []))
    for full in state:
        name = full
        for wrapper in WRAPPERS:
            if name not in wanted and wrapper in name:
                name = name.replace(wrapper, "")
                gone[wrapper] = None
        while name not in wanted and (prefix := next((p for p in possible if name.startswith(p)), None)):
            name = name.removeprefix(prefix)
            gone[prefix] = None
        if name in found and COPY in full and _equal(state[full], state[found[name]]):
            continue
        if name in found:
            raise BadInput(
                f"weights {path} hold two networks, as {found[name]} and {full} are both {name}: save the one to evaluate alone"
            )
        found[name] = full
    return {name: state[full] for name, full in found.items()}, list(gone)


def _equal(value: Any, other: Any) -> bool:
    return isinstance(value, Tensor) and isinstance(other, Tensor) and torch.equal(value, other)


def _misfit(state: Mapping[str, Any], wanted: Mapping[str, Tensor], error: Exception) -> str:
    """Return in words why weights do not fit: shapes that differ, else names, else the error itself."""
    for name, own in wanted.items():
        value = state.get(name)
        if isinstance(value, Tensor) and value.shape != own.shape:
            return f"size mismatch for {name}, {tuple(value.shape)} in the file, {tuple(own.shape)} in the network"
    lacking, foreign = [name for name in wanted if name not in state], [name for name in state if name not in wanted]
    if lacking or foreign:
        return "; ".join(f"{what} {_some(names)}" for what, names in (("missing", lacking), ("unknown", foreign)) if names)
    return one_line(error)


def _keys(state: Iterable[str]) -> str:
    """Return a few keys of a file in words."""
    return f"the file holds {_some(list(state))}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}" if names else "no weights"
