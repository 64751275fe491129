"""Draw what happened to one image: clean, attacked, their difference, one barrage step by step, and the class of every draw."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from bart import Barrage, rng
from bart.defenses.barrage import described
from bart.gradient import draw_keys
from pipeline import escaped
from pipeline.campaigns.job import Job, opened
from pipeline.campaigns.worker import image_keys
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput
from pipeline.reports import style
from pipeline.reports.examples import Example, Picture, examples, unit
from pipeline.reports.figures import STYLE
from pipeline.store.rows import batches

COLUMNS = ["image_key", "cell", "unit", "status", "error", "label", "target", "clean_top5", "adv_top5", "linf", "l2"]
"""The columns of rows that the picture needs."""

ACROSS = 6
"""The number of pictures side by side."""

CLASSES = 6
"""The most classes with a bar of their own in the chart of the draws; the rest are one bar."""


def rows(store: str, image: str, cells: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of the image with this key, one a cell. Raises BadInput if there are none, or none was attacked."""
    found = [row for batch in batches(store, COLUMNS, cells) for row in _of_image(batch, image)]
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


def steps(cell: Cell, key: str, picture: Picture, draw: int = 0) -> list[tuple[str, Picture]]:
    """Return the transforms of one evaluation draw of an image, in order, each with the picture after it.

    key      the key of the image
    picture  the image that the barrage gets
    draw     which of the evaluation draws, from 0
    """
    keys = image_keys(cell, [key], torch.device("cpu")).map(rng.fold, "frozen" if cell.defense.frozen else "evaluation")
    barrage, size = Barrage(cell.defense.k, cell.defense.transforms), (picture.shape[1], picture.shape[2])
    drawn = barrage.draw(draw_keys(keys, draw + 1).map(lambda side: side[draw:]), size)
    x, out = torch.from_numpy(picture)[None].float() / 255, []
    (names,) = described(drawn)
    for count, name in enumerate(names, 1):
        with torch.no_grad():
            done = barrage(x, drawn._replace(rounds=drawn.rounds[:count]))
        out.append((name, (done[0] * 255).round().byte().numpy()))
    return out


def trace(store: str, image: str, path: Path, cells: Sequence[str] | None = None) -> list[str]:
    """Write the picture of the image with this key, a part for each cell, and return the cells.

    cells  only these; default: all that have the image
    Raises BadInput as `rows` and `pipeline.reports.examples.examples` do.
    """
    job = opened(store)
    shown = [(row, examples(job, unit(job, row["unit"]), [image])[0]) for row in rows(store, image, cells)]
    shown.sort(key=lambda pair: (job.cells[pair[0]["cell"]].defense.k, pair[0]["cell"]))
    heights = [_height(job.cells[row["cell"]]) for row, _ in shown]
    with plt.style.context([STYLE, {"figure.constrained_layout.use": False, "axes.grid": False}]):
        figure = plt.figure(figsize=(2.1 * ACROSS, 2.35 * sum(heights)), layout="constrained")
        parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, (row, example) in zip(parts, shown, strict=True):
            _part(part, job, row, example)
        figure.savefig(path, dpi=110)
    plt.close(figure)
    return [row["cell"] for row, _ in shown]


story = trace
"""The name of `trace` in release 0.1."""


def _height(cell: Cell) -> int:
    """Return how many lines of pictures the part of a cell has."""
    return 1 + -(-cell.defense.k // ACROSS)


def _part(part: SubFigure, job: Job, row: dict[str, Any], example: Example) -> None:
    """Draw the part of one cell."""
    cell = job.cells[row["cell"]]
    grid = part.add_gridspec(_height(cell), ACROSS)
    aimed = f", aimed at class {row['target']}" if row["target"] is not None else ""
    title = escaped.mathtext(f"{row['cell']}: {example.key}, class {row['label']}{aimed}")
    part.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    _picture(part.add_subplot(grid[0, 0]), example.clean, style.SIDES["clean"])
    if example.adversarial is not None:
        title = f"{style.SIDES['adv']}, L-inf {255 * row['linf']:.1f}/255, L2 {row['l2']:.1f}"
        _picture(part.add_subplot(grid[0, 1]), example.adversarial, title)
        _picture(part.add_subplot(grid[0, 2]), example.difference, f"difference × {example.magnified:.0f}")
    room = part.add_subplot(grid[0, 3:])
    room.set_axis_off()
    _classes(room.inset_axes((0.16, 0.14, 0.82, 0.76)), row)
    last = example.clean if example.adversarial is None else example.adversarial
    for place, (name, picture) in enumerate(steps(cell, example.key, last)):
        axes = part.add_subplot(grid[1 + place // ACROSS, place % ACROSS])
        _picture(axes, picture, f"draw 1, {place + 1}: {name}")


def _picture(axes: Axes, picture: Picture, title: str) -> None:
    """Draw one picture with a title above it."""
    axes.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=8)


def _classes(axes: Axes, row: dict[str, Any]) -> None:
    """Draw how many draws say each class, clean and attacked: the label first, then the classes that most draws say."""
    draws = len(row["adv_top5"])
    counts = {side: Counter(five[0] for five in row[f"{side}_top5"]) for side in style.SIDES}
    others = [c for c, _ in (counts["clean"] + counts["adv"]).most_common() if c != row["label"]]
    named, rest = [row["label"], *others[: CLASSES - 1]], others[CLASSES - 1 :]
    texts = [f"{row['label']} (right)", *map(str, named[1:]), *(["others"] if rest else [])]
    y = np.arange(len(texts))
    for side, shift, look in zip(style.SIDES, (-0.2, 0.2), style.SERIES[:2], strict=True):
        bars = [counts[side][c] for c in named] + ([sum(counts[side][c] for c in rest)] if rest else [])
        axes.barh(y + shift, bars, 0.38, color=look.figure, label=style.SIDES[side])
    axes.set(yticks=y, yticklabels=texts, xlim=(0, draws), xlabel=f"evaluation draws that say the class, of {draws}")
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2)
