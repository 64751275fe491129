"""Time transforms beside those of kornia and torchvision on the same device: python -m benchmarks.gpu.transforms

The transforms that they share, forward, and forward with backward where both have a derivative, over one stack. Ours has other
parameters for each image; the peers have the same for all, which their functions want. What they compute is alike, not equal: a
square window beside our disk, 8 bits beside float32. Ratios are theirs over ours, of the best of some repeats.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from bart import TRANSFORMS
from bart.types import Params
from benchmarks.transforms import measured
from tests.support.images import keys, photographs

Function = Callable[[Tensor], Tensor]


class Peer(NamedTuple):
    """Hold a library's function for a transform of ours, and whether it has a derivative."""

    library: str
    function: Function
    derivative: bool = True


def _bytes(function: Function) -> Function:
    """Return a function of 8-bit images as one of images in [0, 1]."""
    return lambda x: function((x * 255).to(torch.uint8)).float() / 255


def peers(side: int) -> dict[str, tuple[dict[str, float], list[Peer]]]:
    """Return the shared transforms: parameters that ours are given, and the peers."""
    from kornia import color, enhance, filters
    from torchvision.transforms.v2 import functional as vision

    def colours(there: Function, back: Function) -> Function:
        return lambda x: back(there(x))

    part = round(0.8 * side)
    return {
        "gaussian_blur": ({"sigma": 1.5}, [
            Peer("kornia", lambda x: filters.gaussian_blur2d(x, (13, 13), (1.5, 1.5))),
            Peer("torchvision", lambda x: vision.gaussian_blur(x, [13, 13], [1.5, 1.5]))]),
        "median": ({"radius": 2}, [Peer("kornia", lambda x: filters.median_blur(x, 5))]),
        "mean": ({"radius": 2}, [Peer("kornia", lambda x: filters.box_blur(x, 5))]),
        "jpeg": ({"quality": 75}, [
            Peer("kornia", lambda x: enhance.jpeg_codec_differentiable(x, torch.full((1,), 75.0, device=x.device)))]),
        "hist_eq": ({}, [
            Peer("kornia", enhance.equalize, False), Peer("torchvision", _bytes(vision.equalize), False)]),
        "clahe": ({}, [Peer("kornia", enhance.equalize_clahe, False)]),
        "contrast_stretch": ({}, [Peer("torchvision", vision.autocontrast, False)]),
        "hsv": ({}, [Peer("kornia", colours(color.rgb_to_hsv, color.hsv_to_rgb))]),
        "lab": ({}, [Peer("kornia", colours(color.rgb_to_lab, color.lab_to_rgb))]),
        "xyz": ({}, [Peer("kornia", colours(color.rgb_to_xyz, color.xyz_to_rgb))]),
        "yuv": ({}, [Peer("kornia", colours(color.rgb_to_yuv, color.yuv_to_rgb))]),
        "grey_mix": ({}, [
            Peer("kornia", color.rgb_to_grayscale),
            Peer("torchvision", partial(vision.rgb_to_grayscale, num_output_channels=3))]),
        "noise": ({}, [Peer("torchvision", partial(vision.gaussian_noise, sigma=0.1))]),
        "zoom": ({}, [Peer("torchvision", lambda x: vision.resized_crop(x, 9, 9, part, part, [side, side]))]),
    }  # fmt: skip


def _run(function: Function, x: Tensor, backward: bool) -> Callable[[], object]:
    """Return what is timed."""
    if not backward:
        return lambda: function(x)

    def once() -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf).sum(), leaf)[0]

    return once


def drawn(name: str, count: int, side: int, given: dict[str, float], device: torch.device) -> Params:
    """Return drawn parameters of a stack, some of them replaced."""
    params = TRANSFORMS[name].draw(keys(count), (side, side))
    params |= {key: torch.full_like(params[key], value) for key, value in given.items()}
    return {key: value.to(device) for key, value in params.items()}


def line(name: str, x: Tensor, given: dict[str, float], rivals: list[Peer], repeats: int) -> str:
    """Return the line of a transform."""
    params = drawn(name, len(x), x.shape[-1], given, x.device)
    words = []
    for backward in (False, True):
        able = [peer for peer in rivals if peer.derivative or not backward]
        if not able:
            continue
        ours = 1e3 * measured(_run(lambda x: TRANSFORMS[name].apply(x, params), x, backward), x.device, repeats)[0]
        words.append(f"{'with backward' if backward else 'forward'} {ours:.2f} ms")
        for peer in able:
            theirs = 1e3 * measured(_run(peer.function, x, backward), x.device, repeats)[0]
            words.append(f"{peer.library} {theirs:.2f} ({theirs / ours:.2f} times)")
    return f"{name:<17} {', '.join(words)}"


def main() -> None:
    """Print a line a transform."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--side", type=int, default=224)
    options.add_argument("--repeats", type=int, default=10)
    asked = options.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = (
        photographs(asked.side, asked.side)
        .float()
        .repeat(-(-asked.images // 4), 1, 1, 1)[: asked.images]
        .contiguous()
        .to(device)
    )
    for name, (given, rivals) in peers(asked.side).items():
        print(line(name, x, given, rivals, asked.repeats), flush=True)


if __name__ == "__main__":
    main()
