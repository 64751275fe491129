"""Write docs/results.md; every number is computed from rows: python -m docs.measured

results/page.md.jinja is the text. The numbers come from the stores results/CAMPAIGN/ (without pictures) and the manifests in
campaigns/weights. The figures are drawn from the same rows.
"""

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from pipeline import analysis
from pipeline.config.campaign import load
from pipeline.costs.campaign_cost import Asked, Quote, quote
from pipeline.models import weights
from pipeline.planning.time_left import clock

PAGES = Path(__file__).parent
RESULTS = PAGES / "results"
CAMPAIGNS = PAGES.parent / "campaigns"
WEIGHTS = CAMPAIGNS / "weights"
FIGURES = {"figure4-small": "k", "epsilon-small": "eps"}
"""{campaign with a figure: the column on its x axis}."""


@cache
def table(campaign: str) -> pd.DataFrame:
    """Return the lines of `barrage table` by cell and rule."""
    return analysis.table(str(RESULTS / campaign)).set_index(["cell", "rule"])


@cache
def scores(campaign: str, rule: str = "single") -> pd.DataFrame:
    """Return how right each image of each cell is."""
    return analysis.scores(str(RESULTS / campaign), rule)


def rate(campaign: str, cell: str, what: str = "adv_top1", rule: str = "single") -> str:
    """Return a rate of a cell in % with its 95 % interval: 12.3 [9.1, 16.0]."""
    value, low, high = (100 * table(campaign).loc[(cell, rule), name] for name in (what, f"{what}_low", f"{what}_high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def percent(campaign: str, cell: str, what: str = "adv_top1", rule: str = "single") -> str:
    """Return a rate of a cell in %, without its interval."""
    return f"{100 * table(campaign).loc[(cell, rule), what]:.1f}"


def count(campaign: str) -> int:
    """Return the number of images of each cell of a campaign."""
    return int(table(campaign)["images"].iloc[0])


def worst(campaigns: list[str], defense: str) -> str:
    """Return attacked top-1 in % with its interval at eps 8/255: images of all campaigns, each under its worst attack."""
    found = pd.concat([scores(name) for name in campaigns])
    found = found[(found["defense"] == defense) & (found["model"] == "bart") & ((255 * found["eps"] - 8).abs() < 1e-3)]
    found = found.assign(attack=found["store"].astype(str) + found["attack"].astype(str))  # the same name may have other steps
    shared = found.groupby(list(analysis.IMAGE), observed=True)["cell"].transform("count")
    found = found[shared == shared.max()]
    (line,) = analysis.worst_case(found, ["defense"]).to_dict("records")
    return f"{100 * line['adv']:.1f} [{100 * line['adv_low']:.1f}, {100 * line['adv_high']:.1f}]"


def paired(campaign: str, cell: str, other: str) -> analysis.Comparison:
    """Return the paired comparison of two cells on the same images."""
    found = scores(campaign)
    return analysis.compare(found[found["cell"] == cell], found[found["cell"] == other])


def compared(campaign: str, cell: str, other: str) -> str:
    """Return the paired comparison of two cells on the same images, as text."""
    return str(paired(campaign, cell, other))


def minus(campaign: str, cell: str, other: str) -> str:
    """Return how much more a cell leaves than another, in points with the paired 95 % interval: +1.2 [-0.3, +2.7]."""
    found = paired(campaign, cell, other)
    value, low, high = (100 * end for end in (found.difference, found.low, found.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def as_clean(campaign: str, cell: str, others: list[str]) -> str:
    """Return which of the other cells has the clean accuracy nearest to a cell's."""
    lines = table(campaign).xs("single", level="rule")["clean_top1"]
    return min(others, key=lambda other: abs(lines[other] - lines[cell]))


def says(campaign: str, cell: str, label: int) -> str:
    """Return the share in % of a cell's draws of clean images whose first class is `label`."""
    rows = analysis.results(str(RESULTS / campaign), ["clean_top5"], [cell])
    firsts = [five[0] for draws in rows["clean_top5"] for five in draws]
    return f"{100 * sum(first == label for first in firsts) / len(firsts):.0f}"


def manifest(name: str) -> dict[str, Any]:
    """Return the manifest of weights that ship."""
    path = WEIGHTS / f"cifar10-{name}.safetensors"
    found = weights.manifest_of(str(path), path.read_bytes())
    assert found, f"the weights of {name} have no manifest"
    return found


def learned(name: str, k: int) -> str:
    """Return the accuracy in % of a trained network on held-out images, behind k transforms."""
    return f"{100 * manifest(name)['accuracy'][str(k)]:.1f}"


@cache
def planned(campaign: str) -> Quote:
    """Return the cost of a campaign file at full scale: 50,000 images, 8 H100; 2,500 draw-gradients a second if unknown."""
    asked = Asked("h100", 8, 2.5, 2500.0, measure=False, images=50_000)
    return quote(load(CAMPAIGNS / f"{campaign}.yaml"), asked)


def page() -> str:
    """Return the text of docs/results.md."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(RESULTS), undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    names: dict[str, Any] = {
        "rate": rate,
        "percent": percent,
        "count": count,
        "worst": worst,
        "compared": compared,
        "minus": minus,
        "as_clean": as_clean,
        "says": says,
    }
    names |= {"learned": learned, "table": table, "planned": planned, "clock": clock}
    return templates.get_template("page.md.jinja").render(names)


def main() -> None:
    """Write the page and its figures."""
    from matplotlib import pyplot as plt

    from pipeline.reports import figures

    (PAGES / "results.md").write_text(page())
    for campaign, x in FIGURES.items():
        frame = analysis.curve(scores(campaign), x)
        targeted = frame["target_hit"].notna().any()
        drawn = figures.curve(frame, x, clean=not targeted, value="target_hit" if targeted else "adv")
        with plt.style.context(figures.STYLE):
            drawn.savefig(PAGES / "img" / f"{campaign}.png", dpi=160, metadata={"Software": None})


if __name__ == "__main__":
    main()
