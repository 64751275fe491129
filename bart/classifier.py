"""Wrap a network for attacks: frozen, in eval mode, normalisation inside, BatchNorm folded, channels last."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bart.cpu_kernels.network import with_fast_layers
from bart.types import Size

LAYOUT_TOLERANCE = 0.01
"""Share of the largest logit by which the layout may change logits: sums in another order, in single precision."""


class Normalised(nn.Module):
    """Compute logits of images in [0, 1] by a network whose weights may still change. This is what is trained.

    model           a network that takes normalised RGB (n, 3, h, w) and returns logits (n, classes)
    mean, std       the normalisation, per channel
    autocast        the lower precision in which gradients may run, or None
    layout          the memory layout in which the network is put and gets its images; see `layout_of`
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        autocast: torch.dtype | None = None,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__()
        self.model, self.layout = model.to(memory_format=layout), layout
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.autocast = autocast

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, classes) float32 in the model's own precision. `x` (n, 3, h, w) float in [0, 1]."""
        x = ((x - self.mean) / self.std).contiguous(memory_format=self.layout)
        return self.model(x).float()

    def fast(self, x: Tensor) -> Tensor:
        """Return logits in the precision of gradients."""
        with torch.autocast(x.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            return self.forward(x)


class Classifier(Normalised):
    """Freeze and fold a network: what is attacked and judged. A verdict never uses `autocast`.

    size            the images' height and width, for the check of the folded model and of its layout
    folded          fold BatchNorm, and run convolutions and linear layers fast on a CPU; False leaves every layer as it was
                    made
    A network in training mode is put into eval mode; one in eval mode stays as it is, also where a part of it is left in
    training mode because it shall be random. Raises ValueError if a BatchNorm has no running statistics.
    """

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        size: Size = (224, 224),
        autocast: torch.dtype | None = None,
        folded: bool = True,
    ) -> None:
        for name, module in model.named_modules():
            if isinstance(module, _BatchNorm) and module.running_mean is None:
                raise ValueError(
                    f"{name} has no running statistics: images of a batch would change each other's logits; "
                    "use a BatchNorm with track_running_stats=True"
                )
        model = copy.deepcopy(model).requires_grad_(False)
        model = model.eval() if model.training else model
        model = with_fast_layers(fold_batch_norm(model, size, len(mean))) if folded else model
        super().__init__(model, mean, std, autocast, layout_of(model, size, len(mean)))
        self.training = False

    def train(self, mode: bool = True) -> "Classifier":
        """Return the classifier unchanged for mode False. Raises ValueError for True: BatchNorm would leak between images."""
        if mode:
            raise ValueError("a Classifier is only evaluated: train the model before you wrap it")
        return self


def layout_of(model: nn.Module, size: Size = (224, 224), channels: int = 3) -> torch.memory_format:
    """Return channels last, the faster layout, unless a network in eval mode can't take it, as one that views its features.

    Some networks give other logits in it. Both are found by passes of one image, on the model's own device.
    """
    first = next(model.parameters(), torch.zeros(1))
    probe = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0)).to(first.device)
    try:
        with torch.no_grad():
            plain = _passed(model, probe)
            moved = copy.deepcopy(model).to(memory_format=torch.channels_last)
            logits = _passed(moved, probe.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        return torch.contiguous_format
    same = (logits - plain).abs().amax() <= LAYOUT_TOLERANCE * plain.abs().amax()
    return torch.channels_last if same or not plain.isfinite().all() else torch.contiguous_format


def fold_batch_norm(model: nn.Module, size: Size = (224, 224), channels: int = 3, tolerance: float = 1e-9) -> nn.Module:
    """Return a copy with each BatchNorm folded into the convolution right before it: half the memory, the same logits.

    The pairs are found by watching one forward pass, so this works for any model. A pair is left as it is if its fold changes
    the logits by more than `tolerance` of their range in double precision, as with a convolution whose output is used twice.
    """
    probe = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = copy.deepcopy(model).cpu().double()
    try:
        pairs = _pairs(exact, probe)
        with torch.no_grad():
            logits = _passed(exact, probe)
    except RuntimeError:  # the network makes tensors in single precision of its own, and cannot be compared in double
        return _folded(model, [])

    def same(chosen: list[tuple[str, str]]) -> bool:
        with torch.no_grad():
            change = (_passed(_folded(exact, chosen), probe) - logits).abs().amax()
        return bool(change <= tolerance * logits.abs().amax().clamp_min(1e-6))

    return _folded(model, pairs if same(pairs) else [pair for pair in pairs if same([pair])])


def _passed(model: nn.Module, probe: Tensor) -> Any:
    """Return what a network makes of a probe; one that draws from torch's generator draws the same in every pass."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return model(probe)


def _pairs(model: nn.Module, probe: Tensor) -> list[tuple[str, str]]:
    """Return the names of each convolution and of the BatchNorm that takes its output."""
    names = {module: name for name, module in model.named_modules()}
    made: dict[int, str] = {}
    keep: list[Tensor] = []  # keep outputs alive, so that Python does not reuse their ids
    pairs: dict[tuple[str, str], None] = {}

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d) and "weight" in module._parameters:  # else it is computed, as by weight_norm
            made[id(output)] = names[module]
            keep.append(output)
        elif id(inputs[0]) in made:
            pairs[made[id(inputs[0])], names[module]] = None

    watched = [module for module in names if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    hooks = [module.register_forward_hook(watch) for module in watched]
    with torch.no_grad():
        model(probe)
    for hook in hooks:
        hook.remove()
    return list(pairs)


def _folded(model: nn.Module, pairs: list[tuple[str, str]]) -> nn.Module:
    """Return a frozen copy of the model with these pairs folded."""
    folded = copy.deepcopy(model)
    for convolution, norm in pairs:
        conv, bn = folded.get_submodule(convolution), folded.get_submodule(norm)
        if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d) and not bn.training:
            fused = fuse_conv_bn_eval(conv.eval(), bn)
            conv.weight, conv.bias = fused.weight, fused.bias
            parent, _, child = norm.rpartition(".")
            setattr(folded.get_submodule(parent), child, nn.Identity().eval())
    return folded.requires_grad_(False)


def native_half(device: torch.device) -> torch.dtype | None:
    """Return the 16-bit precision that this device multiplies natively, or None.

    This is a rule, not a timing, so a resumed run finds the same.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    native = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return torch.bfloat16 if any(supported and supported() for supported in native) else None
