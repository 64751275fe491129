"""Draw what happened to one image: clean, attacked, their difference, one barrage step by step, and the class of every draw."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from bart import draw_keys
from pipeline import escaped
from pipeline.campaigns import definition_versions, image_keys
from pipeline.campaigns.job import opened
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput
from pipeline.reports import style
from pipeline.reports.examples import Example, Picture, examples, unit
from pipeline.reports.figures import STYLE
from pipeline.store.formats import StoreWarning
from pipeline.store.rows import batches

COLUMNS = ["image_key", "shard", "cell", "unit", "status", "error", "label", "target", "clean_top5", "adv_top5", "linf", "l2"]
"""The columns of rows that the picture needs."""

ACROSS = 6
"""The number of pictures side by side."""

NAME = 18
"""The most letters of the name of a class."""

CLASSES = 6
"""The most classes with a bar of their own in the chart of the draws; the rest are one bar."""


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


def steps(cell: Cell, image: tuple[str, str], picture: Picture, draw: int = 0) -> list[tuple[str, Picture]]:
    """Return the steps of one evaluation draw of an image, in order, each with the picture after it.

    image    the shard of the image and its key there
    picture  the image that the defense gets
    draw     which of the evaluation draws, from 0
    """
    keys = draw_keys.to_judge(image_keys.to_judge(cell, [image]), draw + 1, cell.defense.frozen)
    defense, size = cell.defense.build(), (picture.shape[1], picture.shape[2])
    drawn = defense.draw(keys.map(lambda side: side[draw:]), size)
    with torch.no_grad():
        stages = list(defense.stages(torch.from_numpy(picture)[None].float() / 255, drawn))
    return [(name, (done[0].clamp(0, 1) * 255).round().byte().numpy()) for name, done in stages]


def trace(store: str, image: str, path: Path, cells: Sequence[str] | None = None, shard: str | None = None) -> list[str]:
    """Write the picture of the image with this key, a part for each cell, and return the cells.

    cells  only these; default: all that have the image
    shard  the shard that holds it, where several hold this key
    Raises BadInput as `rows` and `pipeline.reports.examples.examples` do.
    """
    job = opened(store)
    shown = [(row, examples(job, unit(job, row["unit"]), [image])[0]) for row in rows(store, image, cells, shard)]
    shown.sort(key=lambda pair: (job.cells[pair[0]["cell"]].defense.cost, pair[0]["cell"]))
    outdated = definition_versions.outdated(job.campaign, store)
    draws = [_draw(job.cells[row["cell"]], row, example, outdated) for row, example in shown]
    heights = [1 + -(-len(draw) // ACROSS) for draw in draws]
    with plt.style.context([STYLE, {"figure.constrained_layout.use": False, "axes.grid": False}]):
        figure = plt.figure(figsize=(2.1 * ACROSS, 2.35 * sum(heights)), layout="constrained")
        parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, (row, example), draw in zip(parts, shown, draws, strict=True):
            _part(part, row, example, draw, job.campaign.data.named)
        figure.savefig(path, dpi=110)
    plt.close(figure)
    return [row["cell"] for row, _ in shown]


story = trace
"""The name of `trace` in release 0.1."""


def _draw(cell: Cell, row: dict[str, Any], example: Example, outdated: Mapping[str, str]) -> list[tuple[str, Picture]]:
    """Return the transforms of the first draw that judged the example, or none, with a warning, if it cannot be made again."""
    if changed := outdated.get(cell.name):
        text = f"cell {cell.name}: {changed}: its draws are not shown; the release that wrote them can show them"
        warnings.warn(text, StoreWarning, stacklevel=2)
        return []
    last = example.clean if example.adversarial is None else example.adversarial
    return steps(cell, (row["shard"], example.key), last)


def _part(
    part: SubFigure,
    row: dict[str, Any],
    example: Example,
    draw: Sequence[tuple[str, Picture]],
    named: Callable[[int], str],
) -> None:
    """Draw the part of one cell."""
    grid = part.add_gridspec(1 + -(-len(draw) // ACROSS), ACROSS)
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
    for place, (name, picture) in enumerate(draw):
        axes = part.add_subplot(grid[1 + place // ACROSS, place % ACROSS])
        _picture(axes, picture, f"draw 1, {place + 1}: {name}")


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
