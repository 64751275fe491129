"""Find out why an attack sees no gradient of a model, image by image: what hides it, and whether there is one to find."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bart.losses import Loss

PIXELS = 16
"""Single pixels of an image that are moved a little, one at a time, to see whether the logits follow."""

LITTLE, FAR = 2e-4, 0.1
"""How far a pixel is moved: less than a tenth of an 8-bit level; and how far all pixels are."""

CAUSES: Mapping[str, str] = {
    "random": "the same image gives other logits in a second pass",
    "logits not finite": "its logits are NaN or infinite",
    "gradient not finite": "its gradient is NaN or infinite: a root, norm or division at 0",
    "saturation": "the softmax of its outputs is exactly 0 or 1, so the loss is flat: use the loss margin",
    "clamp": "its outputs stay the same when all pixels change, so something cuts them off",
    "quantisation": "its outputs change in jumps, as something rounds: pass the gradient straight through that",
    "masked": "its outputs follow the image and its gradient is zero: a detach, no_grad or rounding hides it",
}
"""What hides a gradient, and what it means; in the order in which they are looked for."""

Network = Callable[[Tensor], Tensor]
"""Images (n, 3, h, w) in [0, 1] -> logits (n, classes)."""


def causes(network: Network, x: Tensor, label: Tensor, loss: Loss) -> list[str]:
    """Return for each image of `x` (n, 3, h, w) what hides the gradient of its loss: a name of CAUSES, or "" if nothing does.

    label   the right classes, (n,); the loss is untargeted
    A gradient is hidden if it is zero in every pixel, or not finite in any.
    """
    leaf = x.detach().requires_grad_()
    logits = network(leaf)
    target = torch.full_like(label, -1)
    gradient, slope = (_gradient(value, leaf) for value in (loss(logits, label, target), _mixed(logits)))
    with torch.no_grad():
        again = network(x)
    unlike = (again != logits).flatten(1).any(1) & ~_close(again, logits.detach())
    found = []
    for i in range(len(x)):
        if unlike[i] and logits[i].isfinite().all():
            found.append("random")
        elif not logits[i].isfinite().all():
            found.append("logits not finite")
        elif not gradient[i].isfinite().all():
            found.append("gradient not finite")
        elif (gradient[i] != 0).any():
            found.append("")
        else:
            found.append("saturation" if (slope[i] != 0).any() else _flat(network, x[i]))
    return found


def _close(a: Tensor, b: Tensor) -> Tensor:
    """Return which rows of logits differ by rounding only, (n,) bool."""
    return (a - b).abs().amax(1) <= 1e-5 * b.abs().amax(1)


def _mixed(logits: Tensor) -> Tensor:
    """Return one value of each row that depends on every logit, (n,)."""
    return (logits * torch.linspace(1, 2, logits.shape[1], device=logits.device, dtype=logits.dtype)).sum(1)


def _gradient(value: Tensor, leaf: Tensor) -> Tensor:
    """Return the gradient of values (n,) in the images, zero if they do not depend on them."""
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found


@torch.no_grad()
def _flat(network: Network, image: Tensor) -> str:
    """Return why the logits of an image (3, h, w) have no slope: clamp, quantisation or masked."""
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(image.numel(), generator=generator, device="cpu")[:PIXELS]
    moved = image.flatten().repeat(len(places), 1)
    rows = torch.arange(len(places), device="cpu")
    moved[rows, places] += torch.where(moved[rows, places] > 0.5, -LITTLE, LITTLE).float()
    base = network(image[None])
    followed = (network(moved.view(-1, *image.shape)) != network(image.expand(len(places), *image.shape))).any(1)
    if followed.float().mean() > 0.5:
        return "masked"
    signs = torch.rand(image.shape, generator=generator, device="cpu", dtype=torch.float32).to(image.device) < 0.5
    far = (image + torch.where(signs, -FAR, FAR).float()).clamp(0, 1)
    return "quantisation" if (network(far[None]) != base).any() or followed.any() else "clamp"
