"""Figures and tables for papers, from the frames of `pipeline.analysis`: PDF, PNG, LaTeX and CSV; intervals always shown."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from pipeline import analysis

STYLE = Path(__file__).with_name("figures.mplstyle")

AXES = {
    "k": "transforms in a barrage (k)",
    "eps": "radius of the ball (eps, images in [0, 1])",
    "steps": "steps of the attack",
    "eot_draws": "draws per gradient",
    "draw_gradients": "draw-gradients per image",
    "draws": "fresh draws that must all be right (m)",
}
"""What stands under each x of `analysis.curve`."""

VALUES = {"adv": "accuracy in %", "target_hit": "draws that say the target, in %"}
"""What stands beside each rate."""

SIZE = (4.8, 3.2)
"""Inches: a column of a paper and a half."""

ASIDE = 2.5
"""Points between lines at the same x; less where there are many."""

LEGEND = 4
"""Series up to which the legend stands within the axes."""


def curve(frame: pd.DataFrame, x: str, clean: bool = True, value: str = "adv") -> Figure:
    """Accuracy against `x` as a figure: a line a series, with its 95 % intervals; accuracy without an attack dashed.

    frame  of `analysis.curve` or `analysis.persistence`; columns before `x` name the series
    value  what is drawn, a name of VALUES
    """
    frame = frame[frame[value].notna()]
    names = [name for name in frame.columns[: frame.columns.get_loc(x)] if frame[name].nunique() > 1]
    with plt.style.context(STYLE):
        series = list(_series(frame, names))
        many = len(series) > LEGEND
        tall = max(SIZE[1], 0.19 * len(series) + 0.5)  # inches, as the legend is
        figure, axes = plt.subplots(figsize=(SIZE[0] + 1.6, tall) if many else SIZE)
        for (label, some), style in zip(series, _styles(len(series)), strict=True):
            _line(axes, some, x, value, f"{label}attacked" if clean else label.removesuffix(", "), **style)
            if clean:
                _line(axes, some, x, "clean", f"{label}clean", **style, linestyle="--", markerfacecolor="white")
        _aside(axes)
        axes.set(xlabel=AXES[x], ylabel=VALUES[value], ylim=(-2, 102))
        if x in ("k", "draws", "steps", "eot_draws"):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(axes.containers) > 1:
            _legend(axes, clean, many)
    plt.close(figure)  # pyplot forgets it: a notebook would show it a second time
    return figure


def _legend(axes: plt.Axes, clean: bool, many: bool) -> None:
    """Names each series once, and what dashes are; beside the axes where there are many."""
    drawn = {str(line.get_label()): line for line in axes.containers}
    if clean and len(drawn) > 2:
        dashed = next(line for name, line in drawn.items() if name.endswith("clean"))
        drawn = {name.removesuffix(", attacked"): line for name, line in drawn.items() if name.endswith("attacked")}
        drawn["dashed: clean"] = dashed
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if many else {"loc": "best"}
    axes.legend(list(drawn.values()), list(drawn), **place)


def _aside(axes: plt.Axes) -> None:
    """Draws lines some points beside each other, so that no interval hides another; their data stay what they are."""
    count, inches = len(axes.containers), axes.figure.dpi_scale_trans
    apart = min(ASIDE, 4 * ASIDE / max(1, count)) / 72
    for place, drawn in enumerate(axes.containers):
        for artist in drawn.get_children():
            artist.set_transform(axes.transData + ScaledTranslation((place - (count - 1) / 2) * apart, 0, inches))


def _styles(count: int) -> list[dict[str, Any]]:
    """A colour and a marker a series: those of the style, or where it has too few, a ramp from dark to light."""
    cycle = list(matplotlib.rcParams["axes.prop_cycle"])
    ramp = plt.get_cmap("viridis")(np.linspace(0, 0.9, max(2, count)))
    few = count <= len(cycle)
    return [cycle[i] if few else {"color": ramp[i], "marker": cycle[i % len(cycle)]["marker"]} for i in range(count)]


def _series(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """The lines of each series with what it is called, empty where there is one."""
    if not names:
        yield "", frame
        return
    for values, some in frame.groupby(list(names), observed=True, sort=False, dropna=False):
        words = (analysis.WORDS.get(name, "{}").format(value) for name, value in zip(names, values, strict=True))
        yield ", ".join(words) + ", ", some


def _line(axes: plt.Axes, some: pd.DataFrame, x: str, side: str, label: str, **style: Any) -> None:
    some = some[some[side].notna()]
    middle, low, high = (100 * some[name].to_numpy(float) for name in (side, f"{side}_low", f"{side}_high"))
    axes.errorbar(some[x], middle, np.clip([middle - low, high - middle], 0, None), label=label, capsize=2, **style)


def table1(frame: pd.DataFrame) -> pd.DataFrame:
    """The article's Table 1 of one store, a cell a line: images, top-1 and top-5, clean and attacked, in % with intervals.

    frame  of `analysis.table`: its lines of the rule single
    """
    some = frame[frame["rule"] == "single"]
    out = pd.DataFrame({"cell": some["cell"], "images": some["images"]})
    for name, head in (("clean_top1", "clean top-1"), ("adv_top1", "attacked top-1"), ("clean_top5", "clean top-5"),
                       ("adv_top5", "attacked top-5"), ("target_hits", "target hit")):  # fmt: skip
        parts = some[[name, f"{name}_low", f"{name}_high"]].to_numpy(float) * 100
        out[head] = ["" if np.isnan(v) else f"{v:.1f} [{low:.1f}, {high:.1f}]" for v, low, high in parts]
    return out.loc[:, [name for name in out if not (out[name] == "").all()]].reset_index(drop=True)


def latex(frame: pd.DataFrame, caption: str) -> str:
    """A frame of texts and counts as a table of LaTeX with booktabs."""
    rows = [" & ".join(_escaped(str(value)) for value in row) + r" \\" for row in [frame.columns, *frame.to_numpy()]]
    columns = "l" + "r" * (frame.shape[1] - 1)
    head = [r"\begin{table}", r"\centering", rf"\caption{{{_escaped(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "% needs \\usepackage{booktabs}\n" + "\n".join([*head, *body]) + "\n"


def _escaped(text: str) -> str:
    """For LaTeX."""
    special = {c: "\\" + c for c in "&%$#_{}"} | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    return "".join(special.get(c, c) for c in text)


def write(store: str, folder: Path) -> list[Path]:
    """Table 1 (.csv, .tex), Figure 4 and every curve that the store has points for (.pdf, .png); returns their paths.

    Raises BadInput as `analysis.scores` does.
    """
    found, table = analysis.scores(store), analysis.table(store)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "table1.csv", index=False)
    images = found.loc[found["adv"].notna(), "image_key"].nunique()
    caption = f"Accuracy in % of {images:,} images, expected of a single draw, with 95 % intervals."
    (folder / "table1.tex").write_text(latex(table1(table), caption))
    out = [folder / "table1.csv", folder / "table1.tex"]
    for name, figure in _curves(found):
        for kind in ("pdf", "png"):
            out.append(folder / f"{name}.{kind}")
            with plt.style.context(STYLE):
                figure.savefig(out[-1], metadata={"CreationDate": None} if kind == "pdf" else {"Software": None})
    return out


def _curves(found: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """The figures that these scores have points for: where a setting takes more than one value."""
    for x, name in {"k": "figure4", "eps": "eps", "steps": "steps", "eot_draws": "draws"}.items():
        frame = analysis.curve(found, x)
        if any(some[x].nunique() > 1 for _, some in _series(frame, list(frame.columns[: frame.columns.get_loc(x)]))):
            yield name, curve(frame, x)
            if frame["target_hit"].notna().any():
                yield f"{name}-targets", curve(frame, x, clean=False, value="target_hit")
    priced = analysis.accuracy(found, ["model", "k", "defense", "attack"])
    if priced["draw_gradients"].gt(0).sum() > 1:
        yield "cost", cost(priced)
    random = found[found["evaluation_draws"] > 1]
    for attack, some in random.groupby("attack", observed=True):
        frame = analysis.persistence(some, ["model", "k", "defense"]).drop(columns="k")
        yield f"persistent-{attack}", curve(frame, "draws", clean=False)


def cost(frame: pd.DataFrame) -> Figure:
    """Accuracy against draw-gradients an image, on a logarithmic axis: a series a defense, its attacks by what they cost.

    frame  of `analysis.accuracy`, by model, k, defense and attack
    """
    some = frame[frame["draw_gradients"] > 0].sort_values(["model", "k", "defense", "draw_gradients"])
    figure = curve(some[["model", "defense", "draw_gradients", "adv", "adv_low", "adv_high"]], "draw_gradients", clean=False)
    (axes,) = figure.axes
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    return figure
