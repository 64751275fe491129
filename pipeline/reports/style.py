"""Hold the labels, colours and markers of all charts, for the report page, the figures and the picture of one image."""

from pathlib import Path
from typing import Any, NamedTuple

from pipeline.scoring import summaries
from pipeline.scoring.rules import RULES

_PALETTE = Path(__file__).parent / "page" / "palette.css"

AXES = {
    "k": "transforms in a barrage (k)",
    "eps": "radius of the ball (eps, images in [0, 1])",
    "steps": "steps of the attack",
    "eot_draws": "draws per gradient",
    "draw_gradients": "draw-gradients per image",
    "radius": "certified L2 radius (images in [0, 1])",
    "draws": "fresh draws that must all be right (m)",
}
"""The label of each horizontal axis, by the column that it shows."""

VALUES = {
    "adv": "accuracy in %",
    "target_hit": "draws that say the target, in %",
    "certified": "certified or attacked accuracy in %",
}
"""The label of each vertical axis, by the column that it shows."""

SIDES = {"clean": "clean", "adv": "attacked"}
"""The names of the two sides of a verdict: without an attack, and after it."""

RATES = dict(zip([*summaries.RATES, "target_hits"], summaries.HEAD[3:8], strict=True))
"""The names of the rates of a table's line, by column: `adv_top1` is "attacked top-1"."""


class Series(NamedTuple):
    """Describe how one series of a chart looks.

    figure       colour in figures, on white paper: of Okabe and Ito (2008), which colour-blind readers tell apart
    light, dark  colours on the report page, each with a contrast of 3 to 1 or more to its ground
    marker       marker in figures, by its name in Matplotlib
    path         the same marker on the report page, as an SVG path around (0, 0), some 10 px wide
    """

    figure: str
    light: str
    dark: str
    marker: str
    path: str


SERIES = (
    Series("#0072b2", "#0072b2", "#56a8e0", "o", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0"),
    Series("#d55e00", "#c04d00", "#f0894a", "s", "M-4-4h8v8h-8z"),
    Series("#009e73", "#007a59", "#3fc49a", "^", "M0-5.4L5 4H-5z"),
    Series("#cc79a7", "#a94b83", "#e09ac4", "D", "M0-5.6L5.6 0 0 5.6-5.6 0z"),
    Series("#56b4e9", "#2b83b5", "#8ccbf0", "v", "M0 5.4L5-4H-5z"),
    Series("#e69f00", "#8d6200", "#e6b84d", "P", "M-1.8-5h3.6v3.2H5v3.6H1.8V5h-3.6V1.8H-5v-3.6h3.2z"),
    Series("#000000", "#16191d", "#e9ecef", "X", "M-5-3l2-2 3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3z"),
)
"""The looks of the series of a chart, in order. A chart with more series has a ramp of colours, and repeats the markers."""


def rule_texts() -> dict[str, str]:
    """Return what each decision rule says, one sentence each, by its name."""
    return {name: rule.about or name for name, rule in RULES.working().items()}


def for_page() -> dict[str, Any]:
    """Return what the scripts of the report page need, as values for JSON."""
    paths = [series.path for series in SERIES]
    return {"axes": AXES, "values": VALUES, "sides": SIDES, "rates": RATES, "rules": rule_texts(), "markers": paths}


def css() -> str:
    """Return the colours of pages as CSS properties, in light and dark: of grounds and inks, and of series as `--c0` and on."""
    light, dark = (_properties([getattr(series, theme) for series in SERIES]) for theme in ("light", "dark"))
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{_PALETTE.read_text()}"


def _properties(colours: list[str]) -> str:
    return ":root { " + " ".join(f"--c{place}: {colour};" for place, colour in enumerate(colours)) + " }"
