"""List the settings in which two cells differ, and say which of them spoil a comparison."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.analysis.comparison.measured import Measured
from pipeline.campaigns import definition_versions
from pipeline.campaigns.compare import differing
from pipeline.store import mixing

_NAMES = frozenset(("name", "model_name", "defense_name", "attack_name"))
"""What users call a cell and its parts: no setting."""

PARTS = ("model", "defense", "attack")


class Setting(NamedTuple):
    """Hold a setting, dotted as in the campaign file, and its values in the first and the second; None: it has none there."""

    name: str
    first: Any
    second: Any


def settings(first: Measured, second: Measured) -> list[Setting]:
    """Return what differs between two cells: settings, versions of definitions and of decoding, code and devices."""
    found = [Setting(*values) for values in differing(_decisive(first), _decisive(second))]
    made_by = (Setting(*values) for values in differing(_made_by(first), _made_by(second)))
    return found + [setting for setting in made_by if None not in setting]  # a definition that only one uses: its name says so


def remarks(first: Measured, second: Measured, found: list[Setting], rule: str) -> Iterator[str]:
    """Yield what a reader must know of two cells whose settings differ, a line each; `rule` is the decision rule."""
    by_name = {setting.name: setting for setting in found}
    for name, what in (("attack.norm", "norm"), ("attack.eps", "eps"), ("attack.goal", "goal")):
        if name in by_name:
            yield f"{what} is {shown(by_name[name].first)} in the first, {shown(by_name[name].second)} in the second"
    changed = [part for part in PARTS if any(setting.name.startswith(f"{part}.") for setting in found)]
    if len(changed) > 1:
        yield f"{' and '.join(changed)} differ: nothing tells which of them makes the difference"
    if "evaluation_draws" in by_name and rule != "single":
        yield (
            f"the first was judged by {first.cell.judged_by} draws, the second by {second.cell.judged_by}: under the rule "
            f"{rule} that alone makes a difference"
        )
    for setting in found:
        if setting.name.startswith("version of ") or setting.name == "decoding":
            yield f"{setting.name}: {shown(setting.first)} in the first, {shown(setting.second)} in the second"
    for side in (first, second):
        yield from _unfinished(side)
        yield from (f"{side.side}: {line}" for line in mixing.mixed(side.origins))


def shown(value: Any) -> str:
    """Return a value as a person reads it."""
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _unfinished(side: Measured) -> Iterator[str]:
    """Yield a line if a cell has not all images of its campaign."""
    done, planned = len(side.names) + side.failed, side.scope.images
    if done < planned and side.scope.stopped:
        yield f"{side.side} was ended by its stop rule after {done:,} of {planned:,} images"
    elif done < planned:
        yield f"{side.side} is not finished: {done:,} of {planned:,} images"


def _decisive(side: Measured) -> Mapping[str, Any]:
    """Return the settings of a cell; where the weights have a hash, their path is only a place."""
    content: dict[str, Any] = side.cell.model_dump(mode="json", exclude=set(_NAMES))
    if content["model"].get("sha256"):
        content["model"].pop("weights", None)
    return content


def _made_by(side: Measured) -> Mapping[str, Any]:
    """Return the versions and the machines that made the rows of a cell, by name."""
    job, found = side.job, dict[str, Any]()
    for table, names in definition_versions.recorded(job.campaign, job.store).items():
        used = side.cell.versions.get(table, {})
        found |= {f"version of {table} {name}": version for name, version in names.items() if name in used}
    found["decoding"] = definition_versions.decoding(job.store)
    return found | {what: ", ".join(values) for what, values in mixing.named(side.origins).items()}
