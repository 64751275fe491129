"""The classifier as an attack wants it: frozen, in eval mode, normalisation inside, BatchNorm folded, channels last."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bart import rng
from bart.barrage import Barrage, Policy
from bart.bpda import combo
from bart.types import Size


class Classifier(nn.Module):
    """Logits of images in [0, 1].

    model           a network that takes normalised RGB (n, 3, h, w) and gives logits (n, classes)
    mean, std       the normalisation, per channel
    size            the images' height and width, for the check of the folded model
    autocast        the lower precision in which attack gradients may run, or None; a verdict never uses it
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        size: Size = (224, 224),
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        model = fold_batch_norm(copy.deepcopy(model).eval().requires_grad_(False), size)
        self.model = model.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.autocast = autocast
        super().train(False)

    def train(self, mode: bool = True) -> "Classifier":
        """Refused: BatchNorm in train mode would leak from image to image."""
        if mode:
            raise ValueError("a Classifier is only evaluated: train the model before it is wrapped")
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits in the model's own precision, (n, classes) float32. `x` (n, 3, h, w) float in [0, 1]."""
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.model(x).float()

    def fast(self, x: Tensor) -> Tensor:
        """Logits in the precision of attack gradients."""
        with torch.autocast(x.device.type, self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            return self.forward(x)


def fold_batch_norm(model: nn.Module, size: Size = (224, 224), tolerance: float = 1e-3) -> nn.Module:
    """Folds each BatchNorm into the convolution right before it: half the activation memory, the same logits.

    The pairs are found by watching one forward pass, so any model will do; a fold that changes the logits by more than
    `tolerance` of their range (a convolution whose output is used elsewhere too) is undone. In place; needs eval mode.
    """
    probe = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    parameter = next(model.parameters(), None)
    if parameter is None:
        return model
    probe = probe.to(parameter)
    made: dict[int, nn.Conv2d] = {}
    keep: list[Tensor] = []  # outputs must outlive the pass, or their ids would be given out again
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])], module))
        elif isinstance(module, nn.Conv2d):
            made[id(output)] = module
            keep.append(output)

    hooks = [m.register_forward_hook(watch) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    with torch.no_grad():
        before = model(probe)
    for hook in hooks:
        hook.remove()
    folded = copy.deepcopy(model)
    twins = dict(zip(model.modules(), folded.modules(), strict=True))
    for convolution, norm in pairs:
        conv, bn = twins[convolution], twins[norm]
        assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
        fused = fuse_conv_bn_eval(conv, bn)
        conv.weight, conv.bias = fused.weight, fused.bias
        _replace(folded, bn, nn.Identity())
    with torch.no_grad():
        after = folded(probe)
    scale = before.abs().amax().clamp_min(1e-6)
    folded.requires_grad_(False)
    return folded if (after - before).abs().amax() <= tolerance * scale else model


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)


@dataclass(frozen=True)
class Defended:
    """A classifier behind a barrage: what is attacked and judged."""

    classifier: Classifier
    barrage: Barrage

    def logits(
        self,
        x: Tensor,
        keys: rng.Mirror,
        policy: Policy = combo,
        order_keys: rng.Mirror | None = None,
        fast: bool = False,
    ) -> Tensor:
        """Logits (n, classes) float32 of a stack `x` (n, 3, h, w), each row behind its own barrage.

        `fast` runs the classifier in the precision of attack gradients; a verdict leaves it off.
        """
        size = (x.shape[-2], x.shape[-1])
        x = self.barrage(x, self.barrage.draw(keys, size, order_keys), policy)
        return self.classifier.fast(x) if fast else self.classifier(x)


def native_half(device: torch.device) -> torch.dtype | None:
    """The 16-bit precision that this device multiplies natively, or None: a rule, not a timing, so a resume finds the same."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    native = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return torch.bfloat16 if any(supported and supported() for supported in native) else None
