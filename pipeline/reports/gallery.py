"""Draw pictures of the defense: every transform with several draws, and a barrage that grows on one photograph."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bart import TRANSFORMS, Barrage, Mirror, key
from pipeline.errors import BadInput

SIDE = 224
"""Height and width of a photograph, in pixels."""

LABEL = 18
"""Height of the line of text under a photograph, in pixels."""

FRAME_SECONDS = 0.7
"""How long the animation shows each step; the last one four times as long."""


def photograph(path: Path | None) -> Tensor:
    """Return an image file, or scikit-image's astronaut (NASA, public domain), as (1, 3, SIDE, SIDE) in [0, 1].

    The middle square of the image is used. Raises BadInput if the file is not an image.
    """
    if path is None:
        from skimage import data

        picture = Image.fromarray(data.astronaut())
    else:
        try:
            picture = Image.open(path).convert("RGB")
        except OSError:
            raise BadInput(f"gallery: {path} is no image that can be read: give a .jpg or .png") from None
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255


def _tile(x: Tensor, label: str) -> Image.Image:
    """Return one image, (3, SIDE, SIDE) in [0, 1], with a line of text under it."""
    tile = Image.new("RGB", (SIDE, SIDE + LABEL), "white")
    tile.paste(Image.fromarray((x * 255).round().byte().permute(1, 2, 0).numpy()))
    ImageDraw.Draw(tile).text((4, SIDE + 2), label, fill="black", font=ImageFont.load_default(12))
    return tile


def contact_sheet(x: Tensor, draws: int = 3, sheets: int = 3) -> Image.Image:
    """Return all transforms of one photograph as one picture, each with its name.

    x       the photograph, (1, 3, SIDE, SIDE) in [0, 1]
    draws   parameter draws of each transform, side by side
    sheets  columns of transforms
    """
    transforms = TRANSFORMS.working()
    rows = -(-len(transforms) // sheets)
    page = Image.new("RGB", (sheets * draws * (SIDE + 4) + (sheets - 1) * 16, rows * (SIDE + LABEL + 4)), "white")
    for place, (name, transform) in enumerate(transforms.items()):
        keys = torch.tensor([key("gallery", name, i) for i in range(draws)], dtype=torch.int64, device="cpu")
        with torch.no_grad():
            done = transform.apply(x.expand(draws, -1, -1, -1), transform.draw(keys, (SIDE, SIDE)))
        column, row = place // rows, place % rows
        for i in range(draws):
            left = column * (draws * (SIDE + 4) + 16) + i * (SIDE + 4)
            page.paste(_tile(done[i], name), (left, row * (SIDE + LABEL + 4)))
    return page


def growing_stack(x: Tensor, seed: int = 0) -> list[Image.Image]:
    """Return 11 pictures of one barrage of ten transforms: after 0, 1, ..., 10 of them, with the name of the last one.

    x  the photograph, (1, 3, SIDE, SIDE) in [0, 1]
    """
    keys = Mirror.of(torch.tensor([key("gallery", "stack", seed)], dtype=torch.int64, device="cpu"), "cpu")
    barrage = Barrage(10)
    frames = [_tile(x[0], "the photograph")]
    for count, (name, done) in enumerate(barrage.stages(x, barrage.draw(keys, (SIDE, SIDE))), 1):
        frames.append(_tile(done[0], f"{count}: {name}"))
    return frames


def gallery(path: Path | None, folder: Path) -> list[Path]:
    """Write `transforms.png` and `barrage.gif` into a folder and return their paths. Raises BadInput as `photograph` does."""
    x = photograph(path)
    folder.mkdir(parents=True, exist_ok=True)
    sheet, animation = folder / "transforms.png", folder / "barrage.gif"
    page = contact_sheet(x)
    page.resize((page.width * 2 // 3, page.height * 2 // 3), Image.Resampling.LANCZOS).quantize(256).save(sheet, optimize=True)
    first, *rest = [frame.quantize(128) for frame in growing_stack(x)]
    times = [int(1000 * FRAME_SECONDS)] * 10 + [int(4000 * FRAME_SECONDS)]
    first.save(animation, save_all=True, append_images=rest, duration=times, loop=0)
    return [sheet, animation]
