"""One image's story as one picture: clean, adversarial, their difference, a barrage step by step, and what every draw said."""

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
from pipeline.campaigns.job import Job, opened
from pipeline.campaigns.worker import image_keys
from pipeline.config.campaign import Cell
from pipeline.errors import BadInput
from pipeline.reports.examples import Example, Picture, examples, unit
from pipeline.reports.figures import STYLE
from pipeline.store.rows import batches

COLUMNS = ["image_key", "cell", "unit", "status", "error", "label", "target", "clean_top5", "adv_top5", "linf", "l2"]
ACROSS = 6
"""Pictures side by side."""
SAID = 6
"""Classes that are told apart among the draws' first ones."""
CLEAN, ATTACKED = "#0072b2", "#d55e00"


def rows(store: str, image: str, cells: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of an image, a cell each. Raises BadInput if there are none, or the image could not be attacked."""
    found = [row for some in batches(store, COLUMNS, cells) for row in _of(some, image)]
    if not found:
        example = next(batches(store, ["image_key"], cells))["image_key"][0].as_py()
        raise BadInput(f"store {store} holds no image {image}: expected a key of its rows, such as {example}")
    good = [row for row in found if row["status"] == "ok"]
    if not good:
        raise BadInput(f"image {image} was not attacked: {found[0]['status']}, {found[0]['error']}; choose another one")
    return good


def _of(rows: Any, image: str) -> list[dict[str, Any]]:
    keys = rows["image_key"].to_pandas()
    return rows.take(np.flatnonzero((keys == image).to_numpy())).to_pylist()


def steps(cell: Cell, key: str, picture: Picture, draw: int = 0) -> list[tuple[str, Picture]]:
    """What an image goes through in one evaluation draw: the transforms' names, and the picture after each."""
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


def story(store: str, image: str, path: Path, cells: Sequence[str] | None = None) -> list[str]:
    """Writes the picture, a part each cell; returns the cells. Raises BadInput as `rows` does, or without clean images."""
    job = opened(store)
    shown = [(row, examples(job, unit(job, row["unit"]), [image])[0]) for row in rows(store, image, cells)]
    shown.sort(key=lambda one: (job.cells[one[0]["cell"]].defense.k, one[0]["cell"]))
    heights = [_height(job.cells[row["cell"]]) for row, _ in shown]
    with plt.style.context([STYLE, {"figure.constrained_layout.use": False, "axes.grid": False}]):
        figure = plt.figure(figsize=(2.1 * ACROSS, 2.35 * sum(heights)), layout="constrained")
        parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, (row, example) in zip(parts, shown, strict=True):
            _part(part, job, row, example)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    plt.close(figure)
    return [row["cell"] for row, _ in shown]


def _height(cell: Cell) -> int:
    """Lines of pictures that a cell takes."""
    return 1 + -(-cell.defense.k // ACROSS)


def _part(part: SubFigure, job: Job, row: dict[str, Any], example: Example) -> None:
    cell = job.cells[row["cell"]]
    grid = part.add_gridspec(_height(cell), ACROSS)
    aimed = f", aimed at class {row['target']}" if row["target"] is not None else ""
    part.suptitle(f"{row['cell']}: {example.key}, class {row['label']}{aimed}", x=0.01, ha="left", fontsize=11, weight="bold")
    _picture(part.add_subplot(grid[0, 0]), example.clean, "clean")
    if example.adversarial is not None:
        title = f"attacked, L-inf {255 * row['linf']:.1f}/255, L2 {row['l2']:.1f}"
        _picture(part.add_subplot(grid[0, 1]), example.adversarial, title)
        _picture(part.add_subplot(grid[0, 2]), example.difference, f"difference × {example.magnified:.0f}")
    room = part.add_subplot(grid[0, 3:])
    room.set_axis_off()
    _said(room.inset_axes((0.16, 0.14, 0.82, 0.76)), row)
    last = example.clean if example.adversarial is None else example.adversarial
    for place, (name, picture) in enumerate(steps(cell, example.key, last)):
        axes = part.add_subplot(grid[1 + place // ACROSS, place % ACROSS])
        _picture(axes, picture, f"draw 1, {place + 1}: {name}")


def _picture(axes: Axes, picture: Picture, title: str) -> None:
    axes.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=8)


def _said(axes: Axes, row: dict[str, Any]) -> None:
    """How many draws say each class, clean and attacked: the label first, then those said most often."""
    draws = len(row["adv_top5"])
    said = {side: Counter(five[0] for five in row[f"{side}_top5"]) for side in ("clean", "adv")}
    both = said["clean"] + said["adv"]
    others = [c for c, _ in both.most_common() if c != row["label"]]
    named = [row["label"], *others[: SAID - 1]]
    texts = [f"{c} (right)" if c == row["label"] else str(c) for c in named]
    bars = {side: [counts[c] for c in named] for side, counts in said.items()}
    if others[SAID - 1 :]:
        texts.append("others")
        bars = {side: [*bars[side], sum(said[side][c] for c in others[SAID - 1 :])] for side in bars}
    y = np.arange(len(texts))
    for side, shift, color, label in (("clean", -0.2, CLEAN, "clean"), ("adv", 0.2, ATTACKED, "attacked")):
        axes.barh(y + shift, bars[side], 0.38, color=color, label=label)
    axes.set(yticks=y, yticklabels=texts, xlim=(0, draws), xlabel=f"evaluation draws that say the class, of {draws}")
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2)
