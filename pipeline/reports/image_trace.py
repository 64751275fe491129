"""Draw what happened to one image: clean, attacked, their difference, one barrage step by step, and the class of every draw."""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from pipeline import escaped
from pipeline.campaigns.job import opened
from pipeline.errors import BadInput
from pipeline.reports import style
from pipeline.reports.figures import STYLE
from pipeline.reports.pictures import OF_A_PICTURE, Example, Images, Picture, stages
from pipeline.store.formats import StoreWarning
from pipeline.store.rows import batches

COLUMNS = [*OF_A_PICTURE, "label", "target", "clean_top5", "adv_top5", "linf", "l2"]
"""The columns of rows that the picture needs."""

ACROSS = 6
"""The number of pictures side by side."""

NAME = 18
"""The most letters of the name of a class."""

CLASSES = 6
"""The most classes with a bar of their own in the chart of the draws; the rest are one bar."""


Draw = list[tuple[str, Picture]]
"""What a draw does to an image, step by step: a name, and the picture after it."""


def rows(store: str, image: str, cells: Sequence[str] | None = None, shard: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of the image with this key, one a cell.

    shard  only of this one; default: of the one that holds the key
    Raises BadInput if there are none, if none was attacked, or if several shards hold the key.
    """
    found = [row for batch in batches(store, COLUMNS, cells) for row in _of_image(batch, image)]
    shards = sorted({row["shard"] for row in found})
    if found and shard not in shards and (shard or len(shards) > 1):
        raise BadInput(f"store {store} holds image {image} in the shards {', '.join(shards)}: choose one with --shard")
    found = [row for row in found if shard in (None, row["shard"])]
    if not found:
        example = next(batches(store, ["image_key"], cells))["image_key"][0].as_py()
        raise BadInput(f"store {store} holds no image {image}: expected a key of its rows, such as {example}")
    good = [row for row in found if row["status"] == "ok"]
    if not good:
        raise BadInput(f"image {image} was not attacked: {found[0]['status']}, {found[0]['error']}; choose another one")
    return good


def _of_image(rows: Any, image: str) -> list[dict[str, Any]]:
    """Return the rows of one image in a table of Arrow."""
    keys = rows["image_key"].to_pandas()
    return rows.take(np.flatnonzero((keys == image).to_numpy())).to_pylist()


def trace(
    store: str, image: str, path: Path, cells: Sequence[str] | None = None, shard: str | None = None, draws: int = 1
) -> list[str]:
    """Write the picture of the image with this key, a part for each cell, and return the cells.

    cells  only these; default: all that have the image
    shard  the shard that holds it, where several hold this key
    draws  evaluation draws that are shown, transform by transform; of a cell that has fewer, all
    Raises BadInput as `rows` and `pipeline.reports.pictures.Images` do.
    """
    job = opened(store)
    images = Images(job)
    shown = [(row, images.example(row)) for row in rows(store, image, cells, shard)]
    shown.sort(key=lambda pair: (job.cells[pair[0]["cell"]].defense.cost, pair[0]["cell"]))
    met = [_draws(images, row, example, draws) for row, example in shown]
    heights = [1 + sum(map(_lines, every)) for every in met]
    with plt.style.context([STYLE, {"figure.constrained_layout.use": False, "axes.grid": False}]):
        figure = plt.figure(figsize=(2.1 * ACROSS, 2.35 * sum(heights)), layout="constrained")
        parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, (row, example), every in zip(parts, shown, met, strict=True):
            _part(part, row, example, every, job.campaign.data.named)
        figure.savefig(path, dpi=110)
    plt.close(figure)
    return [row["cell"] for row, _ in shown]


story = trace
"""The name of `trace` in release 0.1."""


def _draws(images: Images, row: dict[str, Any], example: Example, draws: int) -> list[Draw]:
    """Return the first draws that judged the example, or none, with a warning, if they cannot be made again."""
    try:
        cell = images.drawn_by(row)
    except BadInput as error:
        warnings.warn(f"cell {row['cell']}: {error}", StoreWarning, stacklevel=2)
        return []
    last = example.clean if example.adversarial is None else example.adversarial
    image, count = (row["shard"], example.key), min(draws, len(row["adv_top5"]))
    return [found for draw in range(count) if (found := stages(cell, image, last, draw))]


def _lines(draw: Draw) -> int:
    """Return how many lines of pictures a draw takes."""
    return -(-len(draw) // ACROSS)


def _part(
    part: SubFigure,
    row: dict[str, Any],
    example: Example,
    draws: Sequence[Draw],
    named: Callable[[int], str],
) -> None:
    """Draw the part of one cell."""
    grid = part.add_gridspec(1 + sum(map(_lines, draws)), ACROSS)
    aimed = f", aimed at class {named(row['target'])}" if row["target"] is not None else ""
    title = escaped.mathtext(f"{row['cell']}: {example.key}, class {named(row['label'])}{aimed}")
    part.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    _picture(part.add_subplot(grid[0, 0]), example.clean, style.SIDES["clean"])
    if example.adversarial is not None:
        title = f"{style.SIDES['adv']}, L-inf {255 * row['linf']:.1f}/255, L2 {row['l2']:.1f}"
        _picture(part.add_subplot(grid[0, 1]), example.adversarial, title)
        _picture(part.add_subplot(grid[0, 2]), example.difference, f"difference × {example.magnified:.0f}")
    room = part.add_subplot(grid[0, 3:])
    room.set_axis_off()
    _classes(room.inset_axes((0.16, 0.14, 0.82, 0.76)), row, named)
    line = 1
    for number, draw in enumerate(draws, 1):
        for place, (name, picture) in enumerate(draw):
            axes = part.add_subplot(grid[line + place // ACROSS, place % ACROSS])
            _picture(axes, picture, f"draw {number}, {place + 1}: {name}")
        line += _lines(draw)


def _picture(axes: Axes, picture: Picture, title: str) -> None:
    """Draw one picture with a title above it."""
    axes.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=8)


def _short(text: str) -> str:
    """Return the name of a class so that it has room beside its bar."""
    return escaped.mathtext(text if len(text) <= NAME else f"{text[: NAME - 3]}...")


def _classes(axes: Axes, row: dict[str, Any], name: Callable[[int], str] = str) -> None:
    """Draw how many draws say each class, clean and attacked: the label first, then the classes that most draws say."""
    draws = len(row["adv_top5"])
    counts = {side: Counter(five[0] for five in row[f"{side}_top5"]) for side in style.SIDES}
    others = [c for c, _ in (counts["clean"] + counts["adv"]).most_common() if c != row["label"]]
    named, rest = [row["label"], *others[: CLASSES - 1]], others[CLASSES - 1 :]
    shown = [_short(name(label)) for label in named]
    texts = [f"{shown[0]} (right)", *shown[1:], *(["others"] if rest else [])]
    y = np.arange(len(texts))
    for side, shift, look in zip(style.SIDES, (-0.2, 0.2), style.SERIES[:2], strict=True):
        bars = [counts[side][c] for c in named] + ([sum(counts[side][c] for c in rest)] if rest else [])
        axes.barh(y + shift, bars, 0.38, color=look.figure, label=style.SIDES[side])
    axes.set(yticks=y, yticklabels=texts, xlim=(0, draws), xlabel=f"evaluation draws that say the class, of {draws}")
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2)
