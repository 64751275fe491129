"""Record which definitions decide a cell's numbers: their names by table, their versions, and who added them.

A version enters the identity of a cell only where it is not 1, so cells of release 0.1 keep theirs.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from barrage_plugins import Registry
from bart import ESTIMATORS, LOSSES, TRANSFORMS
from pipeline.config.attacks import KINDS, Attack
from pipeline.config.defenses import DEFENSES, Defense
from pipeline.scoring.rules import RULES


class DrawRule(NamedTuple):
    """Describe how choices follow from draws, and draws from their keys; `version` of the rule, from 1."""

    about: str
    version: int


DRAWS: Registry[DrawRule] = Registry(
    "rule of draws for",
    "draws",
    builtin={
        "evaluation": DrawRule("draws that judge depend on seed, model and defense, shard, image key and draw alone", 2),
        "choice": DrawRule("the best of several examples has most success on its draws, half of it the probability", 2),
        "target": DrawRule("random targets depend on seed, shard, image key and the number of classes alone", 2),
    },
    expected="none but barrage's own",
    accepts=lambda name, thing: False,
)
"""The rules of `pipeline.campaigns.image_keys` for random draws, which depended on the cell's name in version 1, and that of
`bart.gradient.score`, which was the probability alone."""

TABLES: dict[str, Registry[Any]] = {
    table.table: table for table in (TRANSFORMS, KINDS, DEFENSES, LOSSES, ESTIMATORS, RULES, DRAWS)
}  # fmt: skip
"""Every table whose definitions decide numbers, by name. Packages of others can add to all but the last."""

Versions = dict[str, dict[str, int]]
"""Versions of definitions, {table: {name: version}}."""


class Plugin(TypedDict):
    """Describe a definition that another package adds; `version` is that of the package, None for a module."""

    table: str
    name: str
    source: str
    version: str | None


def used(defense: Defense, attack: Attack, rules: Iterable[str] = ()) -> Versions:
    """Return the versions of all definitions that a defense, an attack and decision rules use. Raises PluginError for one that
    cannot be used."""
    own = {KINDS.table: (attack.kind,), RULES.table: tuple(rules), DRAWS.table: _drawn(defense, attack)}
    return versions_of(own, _of_defense(defense), defense.named(), attack.named())


def used_to_judge(defense: Defense) -> Versions:
    """Return the versions of all definitions that a defense uses, whatever attacks it. Raises PluginError as `used` does."""
    return versions_of(_of_defense(defense), defense.named())


def _of_defense(defense: Defense) -> dict[str, tuple[str, ...]]:
    return {DEFENSES.table: (defense.kind,)}


def _drawn(defense: Defense, attack: Attack) -> tuple[str, ...]:
    """Return the rules of draws that matter to a cell: undefended, nothing is drawn by them but random targets."""
    met = {
        "evaluation": defense.random or defense.frozen,
        "choice": attack.chooses,
        "target": attack.goal == "random_target",
    }
    return tuple(name for name, matters in met.items() if matters)


def versions_of(*named: Mapping[str, Iterable[str]]) -> Versions:
    """Return the versions of definitions, given their names by table. Raises PluginError for one that cannot be used."""
    found: Versions = {}
    for tables in named:
        for table, names in tables.items():
            found.setdefault(table, {}).update({name: TABLES[table].version(name) for name in names})
    return {table: versions for table, versions in found.items() if versions}


def changed(versions: Versions) -> Versions:
    """Return the versions that are not 1; tables without any are left out."""
    found = {table: {name: version for name, version in names.items() if version != 1} for table, names in versions.items()}
    return {table: names for table, names in found.items() if names}


def together(all_: Iterable[Versions]) -> Versions:
    """Return the union of several cells' versions, with tables in their order and names sorted."""
    found: Versions = {}
    for versions in all_:
        for table, names in versions.items():
            found.setdefault(table, {}).update(names)
    return {table: dict(sorted(found[table].items())) for table in TABLES if table in found}


def plugins(versions: Versions) -> list[Plugin]:
    """Return who adds those of the definitions that this program does not bring."""
    return [
        Plugin(table=table, name=name, source=(source := TABLES[table].source(name)).name, version=source.version)
        for table, names in versions.items()
        for name in names
        if name not in TABLES[table].builtin
    ]


def differences(before: Versions, now: Versions) -> list[str]:
    """Return in words what has another version now; what `before` does not name was not used before."""
    return [
        f"{TABLES[table].what} {name} had version {was}, has version {version}"
        for table, names in now.items()
        for name, version in names.items()
        if (was := before.get(table, {}).get(name, version)) != version
    ]
