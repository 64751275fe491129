"""Report the findings of the checks, from the rows of their campaign."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pipeline.campaigns.check.judgement import BY_LUCK, Accuracy, Judged, mean, passed
from pipeline.campaigns.check.table import Check, checks
from pipeline.config.campaign import Cell
from pipeline.scoring.rules import attacked, single
from pipeline.store import formats
from pipeline.store.rows import results


@dataclass(frozen=True)
class Finding:
    """Hold what a check found: its figures in words, and whether it passed; None where there is nothing to pass."""

    name: str
    passed: bool | None
    figures: str
    why: str


def findings(cell: Cell, store: str) -> list[Finding]:
    """Return what the checks of a cell found. `store` holds the rows of `campaign_of`; checks without rows are left out."""
    accuracies: dict[str, dict[str, float]] = {}
    rows = attacked(results(store, ["shard", "image_key", "attack", "status", "evaluation_draws", "adv_correct"]))
    names = (rows[name].to_pylist() for name in ("attack", "shard", "image_key"))
    for variant, shard, key, share in zip(*names, single(rows, "adv", 1), strict=True):
        accuracies.setdefault(variant, {})[f"{shard}/{key}"] = float(share)
    made = [check for check in checks(cell) if accuracies.keys() >= {"base", *check.variants}]
    judged = [check.judge(accuracies) for check in made]
    return [
        Finding(check.name, verdict, _figures(check, accuracies) + _doubt(one, verdict), check.why)
        for check, one, verdict in zip(made, judged, passed(judged), strict=True)
    ]


def _figures(check: Check, accuracies: Mapping[str, Accuracy]) -> str:
    """Return the accuracies of a check in %: base 1.2, none 0.0."""
    each = [f"{name} {100 * mean(accuracies[name]):.1f}" for name in ("base", *check.variants)]
    return ", ".join([each[0], " ".join(each[1:])])


def _doubt(judged: Judged, verdict: bool | None) -> str:
    """Return words where a check passes although, alone, it would not: one of several may be so by luck."""
    least = min(judged.chances, default=1.0)
    return f"; alone, luck in {100 * least:.1f} % of runs: try more --images" if verdict and least <= BY_LUCK else ""


def to_json(cell: Cell, found: Iterable[Finding]) -> bytes:
    """Return findings as the JSON that a store keeps (check.json)."""
    content = {"cell": cell.name, "identity": cell.identity, "checks": [asdict(finding) for finding in found]}
    return formats.to_json(content)
