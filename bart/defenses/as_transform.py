"""Show a defense as a transform for training loops, as those of torchvision.transforms.v2 are."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from bart import rng, surroundings
from bart.defenses.defense import Preprocessor


class AsTransform(nn.Module):
    """Send each image through a fresh draw of a defense; stands in a `v2.Compose`, in the workers of a loader, or in a loop.

    Takes images (3, h, w) or (n, 3, h, w), uint8 or float in [0, 1], and returns them in the same form. What comes after the
    image, such as a label, passes through.

    generator  where the key of each call comes from; default: torch's own, as of torchvision, which `torch.manual_seed` and
               the loader's workers seed. In a loader's worker, which has a copy of it, the worker's seed counts too
    """

    def __init__(self, defense: Preprocessor, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.defense, self.generator = defense, generator

    @surroundings.eager
    def forward(self, image: Tensor, *others: Any) -> Any:
        """Return the image, or a tuple of it and `others`. Raises ValueError for what is no image tensor."""
        if not isinstance(image, Tensor) or image.dim() not in (3, 4) or image.dtype not in (torch.uint8, torch.float32):
            form = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            raise ValueError(
                f"{form}: expected images (3, h, w) or (n, 3, h, w), uint8 or float32: put v2.ToImage() before this transform"
            )
        x = image.as_subclass(Tensor)
        x = x.float() / 255 if image.dtype == torch.uint8 else x
        out = self._drawn(x if x.dim() == 4 else x[None])
        out = (255 * out).round().to(torch.uint8) if image.dtype == torch.uint8 else out
        made = (out if x.dim() == 4 else out[0]).as_subclass(type(image))
        return (made, *others) if others else made

    def _drawn(self, x: Tensor) -> Tensor:
        """Return images (n, 3, h, w) in [0, 1], each after a draw of its own."""
        if self.generator is not None:  # a checkpoint puts back torch's own, and no other
            surroundings.first_pass(self)
        low, high = (torch.randint(1 << 32, (), generator=self.generator, device="cpu") for _ in range(2))
        call = rng.Mirror.of((high - (1 << 31)).mul(1 << 32).add(low)[None], x.device)
        if self.generator is not None and (worker := get_worker_info()) is not None:
            call = call.map(rng.fold, worker.seed)
        keys = call.map(lambda side: rng.fold(side, torch.arange(len(x), device=side.device)))
        return self.defense.apply(x, self.defense.draw(keys, (x.shape[-2], x.shape[-1])))

    def extra_repr(self) -> str:
        """Return the defense, for printing."""
        return repr(self.defense)
