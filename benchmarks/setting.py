"""Load what the attack benchmarks share: a classifier, and photographs.

lite0       EfficientNet-Lite0 with its weights, and labelled photographs of ImageNet's validation set
cifar       a ResNet20 of `campaigns/weights`, and test images of CIFAR-10
resnet50    torchvision's ResNet50 with random weights and scikit-image's photographs: for speed only, if the others are missing
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bart import Barrage, Classifier, Defended, Mirror, key, native_half

DATA = Path("../shared/data/imagenet-val")
CIFAR = Path("../shared/data/cifar10/cifar10-test-000000.tar")
SIDE = 224
NORMALISATION = {"lite0": ((0.498039,) * 3, (0.501961,) * 3), "resnet50": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
MODELS = tuple(NORMALISATION)


def photographs(count: int, device: torch.device | str = "cpu", model: str = "lite0") -> tuple[Tensor, Tensor, list[str]]:
    """Return images (count, 3, 224, 224) float32 in [0, 1] of 8-bit values, their labels (count,), and their keys.

    Raises SystemExit if `../shared` does not have the photographs.
    """
    if model != "lite0":
        from tests.support.images import photographs

        images = photographs(SIDE, SIDE).contiguous().repeat(-(-count // 4), 1, 1, 1)[:count]
        return images.to(device), torch.arange(count, device=device), [str(i) for i in range(count)]
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is not there: this benchmark needs labelled ImageNet photographs as WebDataset shards")
    from pipeline.data import shards

    found: list[Any] = []
    for path in sorted(DATA.glob("*.tar")):
        shard = shards.inspect(path)
        found += shards.read(shard, range(min(shard.images, count - len(found))))
        if len(found) == count:
            break
    pixels = torch.stack([torch.from_numpy(shards.decode(sample.image, 256, SIDE)) for sample in found])
    return pixels.to(device).float() / 255, torch.tensor([s.label for s in found], device=device), [s.key for s in found]


def build(model: str) -> nn.Module:
    """Return the bare network."""
    if model == "resnet50":
        from torchvision.models import resnet50

        torch.manual_seed(0)
        return resnet50()
    from pipeline.config.campaign import Model
    from pipeline.models import loading

    return loading.build(Model(architecture="efficientnet_lite0"))


def network(model: str = "lite0") -> nn.Module:
    """Return the classifier as its authors ship it: normalisation first, BatchNorm not folded, in eval mode."""

    class Normalised(nn.Module):
        mean: Tensor
        std: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = build(model)
            for name, values in zip(("mean", "std"), NORMALISATION[model], strict=True):
                self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.model((x - self.mean) / self.std)

    return Normalised().eval()


def classifier(device: torch.device | str = "cpu", model: str = "lite0") -> Classifier:
    """Return the same classifier as the attacks use it: BatchNorm folded, in half precision where the device has it."""
    device = torch.device(device)
    return Classifier(build(model), *NORMALISATION[model], (SIDE, SIDE), native_half(device)).to(device)


def cifar(count: int, weights: str, device: torch.device | str = "cpu") -> tuple[Classifier, Tensor, Tensor, list[str]]:
    """Return the ResNet20 of these weights (plain, adversarial, bart), `count` images (count, 3, 32, 32), labels and keys."""
    from pipeline.config.campaign import Data, Model
    from pipeline.data import shards
    from pipeline.models import loading

    path = f"campaigns/weights/cifar10-{weights}.safetensors"
    model = loading.described(
        Model(architecture="resnet20_cifar", classes=10, weights=path), Data(shards="x", resize=None, crop=32)
    )
    shard = shards.inspect(CIFAR)
    samples = list(shards.read(shard, range(min(count, shard.images))))
    pixels = torch.stack([torch.from_numpy(shards.decode(sample.image, None, 32)) for sample in samples])
    found = loading.classifier(model, 32, torch.device(device))
    return (
        found,
        pixels.to(device).float() / 255,
        torch.tensor([s.label for s in samples], device=device),
        [s.key for s in samples],
    )


def image_keys(names: list[str], device: torch.device | str, seed: int = 0) -> Mirror:
    return Mirror.of(torch.tensor([key("benchmark", seed, name) for name in names]), device)


class Behind(nn.Module):
    """Wrap a network behind a barrage for other libraries: as a module that draws afresh for every image at every call.

    `gradients` counts the draws whose graph was recorded. It is only evaluated: libraries that switch modes change nothing.
    """

    def __init__(self, model: nn.Module, barrage: Barrage) -> None:
        super().__init__()
        self.model, self.barrage, self.calls, self.gradients = model.eval(), barrage, 0, 0
        self.training = False

    def train(self, mode: bool = True) -> "Behind":
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.gradients += len(x) * (x.requires_grad and torch.is_grad_enabled())
        keys = Mirror.of(torch.tensor([key("call", self.calls, i) for i in range(len(x))]), x.device)
        return self.model(self.barrage.apply(x, self.barrage.draw(keys, (x.shape[-2], x.shape[-1]))))


def right(defended: Defended, x: Tensor, label: Tensor, stack: int = 8) -> Tensor:
    """Return which images the undefended classifier gets right, (n,) bool."""
    with torch.no_grad():
        return torch.cat([defended.classifier(images).argmax(1) for images in x.split(stack)]) == label
