"""Draw figures and write tables for papers, from the frames of `pipeline.analysis`, always with intervals."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from pipeline import analysis, escaped
from pipeline.reports import style

_CYCLE = cycler(color=[series.figure for series in style.SERIES], marker=[series.marker for series in style.SERIES])

_FILE: Any = matplotlib.rc_params_from_file(Path(__file__).with_name("figures.mplstyle"), use_default_template=False)

STYLE: dict[str, Any] = {**_FILE, "axes.prop_cycle": _CYCLE}
"""The settings of Matplotlib for every figure: `with plt.style.context(STYLE)`."""

SIZE = (4.8, 3.2)
"""Width and height of a figure in inches, for one and a half columns of a paper."""

SHIFT = 2.5
"""Distance in points between lines at the same x, so that no interval hides another; less where there are many lines."""

LEGEND = 4
"""The most series for which the legend stands within the axes; with more it stands beside them."""


def curve(frame: pd.DataFrame, x: str, clean: bool = True, value: str = "adv") -> Figure:
    """Draw accuracy against the column `x`: a line a series, with 95 % intervals.

    frame  result of `analysis.curve` or `analysis.persistence`; the columns before `x` name the series
    x      a name of `style.AXES`
    clean  draw accuracy without an attack too, dashed
    value  the column to draw, a name of `style.VALUES`
    """
    frame = frame[frame[value].notna()]
    names = [name for name in frame.columns[: frame.columns.get_loc(x)] if frame[name].nunique() > 1]
    with plt.style.context(STYLE):
        series = list(_series(frame, names))
        many = len(series) > LEGEND
        tall = max(SIZE[1], 0.19 * len(series) + 0.5)  # inches, as the legend is
        figure, axes = plt.subplots(figsize=(SIZE[0] + 1.6, tall) if many else SIZE)
        for (label, lines), look in zip(series, _looks(len(series)), strict=True):
            _line(axes, lines, x, value, label + style.SIDES["adv"] if clean else label.removesuffix(", "), **look)
            if clean:
                dashed = {"linestyle": "--", "markerfacecolor": "white"}
                _line(axes, lines, x, "clean", label + style.SIDES["clean"], **look, **dashed)
        _separate(axes)
        axes.set(xlabel=style.AXES[x], ylabel=style.VALUES[value], ylim=(-2, 102))
        if x in ("k", "draws", "steps", "eot_draws"):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(axes.containers) > 1:
            _legend(axes, clean, many)
    plt.close(figure)  # else a notebook shows it a second time
    return figure


def _legend(axes: plt.Axes, clean: bool, many: bool) -> None:
    """Add a legend that names each series once and says what dashes mean; `many`: beside the axes."""
    attacked, without = style.SIDES["adv"], style.SIDES["clean"]
    drawn = {str(line.get_label()): line for line in axes.containers}
    if clean and len(drawn) > 2:
        dashed = next(line for name, line in drawn.items() if name.endswith(without))
        drawn = {name.removesuffix(f", {attacked}"): line for name, line in drawn.items() if name.endswith(attacked)}
        drawn[f"dashed: {without}"] = dashed
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if many else {"loc": "best"}
    axes.legend(list(drawn.values()), list(drawn), **place)


def _separate(axes: plt.Axes) -> None:
    """Draw lines at the same x some points apart; their data do not change."""
    count, inches = len(axes.containers), axes.figure.dpi_scale_trans
    apart = min(SHIFT, 4 * SHIFT / max(1, count)) / 72
    for place, drawn in enumerate(axes.containers):
        for artist in drawn.get_children():
            artist.set_transform(axes.transData + ScaledTranslation((place - (count - 1) / 2) * apart, 0, inches))


def _looks(count: int) -> list[dict[str, Any]]:
    """Return a colour and a marker for each series; with more series than `style.SERIES` has, colours from dark to light."""
    cycle = list(_CYCLE)
    ramp = plt.get_cmap("viridis")(np.linspace(0, 0.9, max(2, count)))
    few = count <= len(cycle)
    return [cycle[i] if few else {"color": ramp[i], "marker": cycle[i % len(cycle)]["marker"]} for i in range(count)]


def _series(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Return the lines of each series with its name and a comma; the name is empty where there is one series.

    names  the columns that tell the series apart
    """
    if not names:
        yield "", frame
        return
    for values, lines in frame.groupby(list(names), observed=True, sort=False, dropna=False):
        words = (analysis.WORDS.get(name, "{}").format(value) for name, value in zip(names, values, strict=True))
        yield ", ".join(map(escaped.mathtext, words)) + ", ", lines


def _line(axes: plt.Axes, lines: pd.DataFrame, x: str, rate: str, label: str, **look: Any) -> None:
    """Draw one series: the column `rate` in %, with its interval, where it is not NaN."""
    lines = lines[lines[rate].notna()]
    middle, low, high = (100 * lines[name].to_numpy(float) for name in (rate, f"{rate}_low", f"{rate}_high"))
    axes.errorbar(lines[x], middle, np.clip([middle - low, high - middle], 0, None), label=label, capsize=2, **look)


def table1(frame: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1 of the article for one store, a cell a line, as texts: every rate in % with its interval.

    frame  result of `analysis.table`; only its lines of the rule `single` are used
    Columns: `cell`, `images`, and the names of `style.RATES`; a rate that no cell has is left out.
    """
    single = frame[frame["rule"] == "single"]
    out = pd.DataFrame({"cell": single["cell"], "images": single["images"]})
    for name, head in style.RATES.items():
        parts = single[[name, f"{name}_low", f"{name}_high"]].to_numpy(float) * 100
        out[head] = ["" if np.isnan(v) else f"{v:.1f} [{low:.1f}, {high:.1f}]" for v, low, high in parts]
    return out.loc[:, [name for name in out if not (out[name] == "").all()]].reset_index(drop=True)


def latex(frame: pd.DataFrame, caption: str) -> str:
    """Return a frame of texts and counts as a table in LaTeX; it needs the package booktabs."""
    rows = [" & ".join(escaped.latex(value) for value in row) + r" \\" for row in [frame.columns, *frame.to_numpy()]]
    columns = "l" + "r" * (frame.shape[1] - 1)
    head = [r"\begin{table}", r"\centering", rf"\caption{{{escaped.latex(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "% needs \\usepackage{booktabs}\n" + "\n".join([*head, *body]) + "\n"


def write(store: str, folder: Path) -> list[Path]:
    """Write Table 1 (.csv, .tex), and Figure 4 and the other curves that the store has points for (.pdf, .png).

    Returns the paths. Raises BadInput as `analysis.scores` does.
    """
    scores, table = analysis.scores(store), analysis.table(store)
    folder.mkdir(exist_ok=True)
    texts = {name: table[name].map(escaped.csv) for name in ("store", "cell", "rule")}
    table.assign(**texts).to_csv(folder / "table1.csv", index=False)
    images = scores.loc[scores["adv"].notna(), list(analysis.IMAGE)].drop_duplicates().shape[0]
    caption = f"Accuracy in % of {images:,} images, expected of a single draw, with 95 % intervals."
    (folder / "table1.tex").write_text(latex(table1(table), caption))
    out = [folder / "table1.csv", folder / "table1.tex"]
    for name, figure in _curves(scores):
        for kind in ("pdf", "png"):
            out.append(folder / f"{name}.{kind}")
            with plt.style.context(STYLE):
                figure.savefig(out[-1], metadata={"CreationDate": None} if kind == "pdf" else {"Software": None})
    return out


def _curves(scores: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Return the figures that the scores have points for, with their names: a setting must take more than one value."""
    for x, name in {"k": "figure4", "eps": "eps", "steps": "steps", "eot_draws": "draws"}.items():
        frame = analysis.curve(scores, x)
        if any(lines[x].nunique() > 1 for _, lines in _series(frame, list(frame.columns[: frame.columns.get_loc(x)]))):
            yield name, curve(frame, x)
            if frame["target_hit"].notna().any():
                yield f"{name}-targets", curve(frame, x, clean=False, value="target_hit")
    with_cost = analysis.accuracy(scores, ["model", "k", "defense", "attack"])
    if with_cost["draw_gradients"].gt(0).sum() > 1:
        yield "cost", cost(with_cost)
    random = scores[scores["evaluation_draws"] > 1]
    for attack, group in random.groupby("attack", observed=True):
        frame = analysis.persistence(group, ["model", "k", "defense"]).drop(columns="k")
        yield f"persistent-{attack}", curve(frame, "draws", clean=False)


def cost(frame: pd.DataFrame) -> Figure:
    """Draw accuracy against draw-gradients an image, on a logarithmic axis: a series a defense, a point an attack.

    frame  result of `analysis.accuracy`, by model, k, defense and attack; lines without draw-gradients are left out
    """
    priced = frame[frame["draw_gradients"] > 0].sort_values(["model", "k", "defense", "draw_gradients"])
    figure = curve(priced[["model", "defense", "draw_gradients", "adv", "adv_low", "adv_high"]], "draw_gradients", clean=False)
    (axes,) = figure.axes
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    return figure
