"""Show how much the transforms that have another definition since release 0.1 change an image, before and after.

    python -m benchmarks.definitions [--photographs imagenet|skimage] [--count 100] [--draws 10]

Columns: the share of draws that change no pixel, and the mean absolute change of a value, in units of 1/255. What release 0.1
computed follows from today's functions: it tossed a coin for each channel, left a channel as it was at tails, drew whole
percentiles, and mixed a channel with all three.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from bart import TRANSFORMS, key, rng
from bart.types import Params
from benchmarks import setting

Definition = Callable[[Tensor, Tensor], Tensor]
"""What a transform makes of images (n, 3, h, w) by one key each, (n,)."""

AT_ONCE = 50
"""Images that are transformed together."""


def _drawn(name: str, x: Tensor, keys: Tensor) -> Params:
    """Return the parameters that a transform draws today."""
    return TRANSFORMS[name].draw(keys, (x.shape[-2], x.shape[-1]))


def _some_channels(name: str, x: Tensor, keys: Tensor, params: Params) -> Tensor:
    """Return the images of which a coin for each channel transforms some channels, each alone."""
    alone = TRANSFORMS[name].apply(x, params | {"per_channel": torch.ones(len(x), dtype=torch.bool)})
    return torch.where(rng.coin(keys, "on", (3,))[:, :, None, None], alone, x)


def clahe(x: Tensor, keys: Tensor) -> Tensor:
    """Return what CLAHE was."""
    return _some_channels("clahe", x, keys, _drawn("clahe", x, keys))


def contrast_stretch(x: Tensor, keys: Tensor) -> Tensor:
    """Return what the stretch was."""
    ends = {name: rng.integers(keys, name, *range_, (3,)).float() for name, range_ in (("low", (1, 4)), ("high", (96, 99)))}
    return _some_channels("contrast_stretch", x, keys, ends)


def grey_one_channel(x: Tensor, keys: Tensor) -> Tensor:
    """Return what the mix with one channel was: of grey made of all three."""
    params = _drawn("grey_one_channel", x, keys)
    grey = TRANSFORMS["grey_mix"].apply(x, _drawn("grey_mix", x, keys))
    strength = torch.nn.functional.one_hot(params["channel"], 3) * params["mix"][:, None]
    return torch.lerp(x, grey, strength[:, :, None, None])


BEFORE: dict[str, Definition] = {"clahe": clahe, "contrast_stretch": contrast_stretch, "grey_one_channel": grey_one_channel}


def after(name: str) -> Definition:
    """Return what a transform is today."""
    return lambda x, keys: TRANSFORMS[name].apply(x, _drawn(name, x, keys))


def measured(definition: Definition, x: Tensor, draws: int) -> tuple[float, float]:
    """Return the share of draws that change nothing, and the mean absolute change in units of 1/255."""
    same, change = 0, 0.0
    for draw in range(draws):
        for start in range(0, len(x), AT_ONCE):
            part = x[start : start + AT_ONCE]
            keys = torch.tensor([key("definitions", draw, start + i) for i in range(len(part))])
            away = (definition(part, keys) - part).abs().flatten(1)
            same += int((away.amax(1) == 0).sum())
            change += float(away.mean(1).sum())
    return same / (draws * len(x)), 255 * change / (draws * len(x))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", choices=("imagenet", "skimage"), default="imagenet", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=100, help="photographs, default: %(default)s; there are 4 of skimage")
    parser.add_argument("--draws", type=int, default=10, help="of each photograph, default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(2)
    imagenet = args.photographs == "imagenet"
    x = setting.photographs(args.count if imagenet else 4, model="lite0" if imagenet else "resnet50")[0]
    print(f"{len(x)} photographs of 224 px, {args.draws} draws each; draws that change nothing, mean change of 255")
    print(f"{'':<18} {'before':>16} {'after':>16}")
    for name, definition in BEFORE.items():
        found = (measured(one, x, args.draws) for one in (definition, after(name)))
        cells = (f"{100 * same:6.1f} % {change:6.2f}" for same, change in found)
        print(f"{name:<18}" + "".join(f" {cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
