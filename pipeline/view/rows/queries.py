"""Check what the page asks of the rows, and write it as SQL with parameters: no text of a request becomes SQL.

How rows are compared and ordered, so that the page's own engine answers alike:
- texts by their code points; `contains` without regard to upper and lower case
- a null is less and greater than nothing, and no text holds another; `!=` holds where the value is null
- nulls come last, ascending and descending; ties in the order of the store, those of groups in the order of the groups' columns
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from pipeline.errors import BadInput
from pipeline.view.rows.columns import BROKEN, COLUMNS, FAILED, NUMBER, SURVIVED, TEXT, TOPS, expression

MOST = 1000
"""The most rows of one answer, values of one list, and conditions or columns of one query."""

COMPARED = {"=": "{} = ?", "!=": "{} IS DISTINCT FROM ?", "<": "{} < ?", "<=": "{} <= ?", ">": "{} > ?", ">=": "{} >= ?"}
"""The operators that take one value."""

FIGURES = ("images", "clean", "adv", "failed", "survived", "broken")
"""The figures of a group: images that were attacked, means of their shares, counts of outcomes."""

_KEYS = {"store", "rule", "top", "where", "sort", "group", "columns", "offset", "limit"}


@dataclass(frozen=True)
class Query:
    """Ask for rows, or for one line a group; `pipeline.view.rows.columns` describes the columns.

    where    conditions (column, operator, value), all of which hold
    sort     columns, each with whether it descends
    group    columns whose values make the groups; none: rows
    columns  of the answer; of groups, `group` and FIGURES
    """

    store: str = "0"
    rule: str = "single"
    top: int = 1
    where: tuple[tuple[str, str, Any], ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    group: tuple[str, ...] = ()
    columns: tuple[str, ...] = tuple(COLUMNS)
    offset: int = 0
    limit: int = 100


@dataclass
class Sql:
    """Hold a statement and its parameters, in the order of its question marks."""

    text: str
    values: list[Any] = field(default_factory=list)


def parsed(content: Any, rules: Collection[str]) -> Query:
    """Return the query that a request holds. Raises BadInput, which names what is wrong, for anything else."""
    if not isinstance(content, Mapping):
        raise BadInput('a query is an object, such as {"store": "0", "limit": 100}')
    if unknown := content.keys() - _KEYS:
        raise BadInput(f"a query has no key {min(map(str, unknown))!r}: expected some of {', '.join(sorted(_KEYS))}")
    rule, top = content.get("rule", "single"), content.get("top", 1)
    if not isinstance(rule, str) or rule not in rules or top not in TOPS or isinstance(top, bool):
        raise BadInput(f"rule {rule!r}, top {top!r}: expected one of {', '.join(rules)}, and 1 or 5")
    group = tuple(_known(name) for name in _listed(content, "group"))
    columns = content.get("columns")
    return Query(
        store=_text(content.get("store", "0")),
        rule=rule,
        top=top,
        where=tuple(_condition(condition) for condition in _listed(content, "where")),
        sort=tuple(_sorted(pair, group) for pair in _listed(content, "sort")),
        group=group,
        columns=tuple(COLUMNS) if columns is None else tuple(_known(name) for name in _listed(content, "columns")),
        offset=_count(content, "offset", 0, 2**53),
        limit=_count(content, "limit", 100, MOST),
    )


def _listed(content: Mapping[str, Any], key: str) -> list[Any]:
    found = content.get(key) or []
    if not isinstance(found, list) or len(found) > MOST:
        raise BadInput(f"{key}: expected a list of at most {MOST:,}")
    return found


def _known(name: Any) -> str:
    if not isinstance(name, str) or name not in COLUMNS:
        raise BadInput(f"column {str(name)[:100]!r}: expected one of {', '.join(COLUMNS)}")
    return name


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{str(value)[:100]!r}: expected a text")
    return value


def _count(content: Mapping[str, Any], key: str, default: int, most: int) -> int:
    found = content.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= most:
        raise BadInput(f"{key} {str(found)[:100]}: expected a whole number from 0 to {most:,}")
    return found


def _sorted(pair: Any, group: tuple[str, ...]) -> tuple[str, bool]:
    """Return a column and whether it descends; of groups, one that the answer has."""
    if not isinstance(pair, list) or len(pair) != 2 or pair[1] not in ("asc", "desc"):
        raise BadInput(f'sort {str(pair)[:100]}: expected [column, "asc"] or [column, "desc"]')
    expected = (*group, *FIGURES) if group else tuple(COLUMNS)
    if pair[0] not in expected:
        raise BadInput(f"sort by {str(pair[0])[:100]!r}: expected one of {', '.join(expected)}")
    return pair[0], pair[1] == "desc"


def _condition(found: Any) -> tuple[str, str, Any]:
    if not isinstance(found, list) or len(found) not in (2, 3):
        raise BadInput(f"where {str(found)[:100]}: expected [column, operator, value]")
    name, operator, value = _known(found[0]), found[1], found[2] if len(found) == 3 else None
    if operator in ("null", "notnull"):
        return name, operator, None
    if operator == "in":
        if not isinstance(value, list) or len(value) > MOST:
            raise BadInput(f"where {name} in ...: expected a list of at most {MOST:,} values")
        return name, operator, [_value(name, one) for one in value]
    if operator == "contains" and COLUMNS[name].kind != TEXT:
        raise BadInput(f"where {name} contains ...: it holds numbers; compare them")
    if operator not in (*COMPARED, "contains"):
        expected = ", ".join((*COMPARED, "in", "contains", "null", "notnull"))
        raise BadInput(f"operator {str(operator)[:100]!r}: expected one of {expected}")
    return name, operator, _value(name, value)


def _value(name: str, value: Any) -> Any:
    """Return a value that a column can be compared with. Raises BadInput for one of another kind."""
    if COLUMNS[name].kind == NUMBER:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and (abs(value) < 2**63 if isinstance(value, int) else isfinite(value)):
            return value
        raise BadInput(f"{name} and {str(value)[:100]!r}: expected a number")
    if not isinstance(value, str):
        raise BadInput(f"{name} and {str(value)[:100]!r}: expected a text; for no value, the operator null")
    return value.encode("utf-8", "replace").decode()


def of_page(query: Query) -> Sql:
    """Return the statement for one page of rows or groups."""
    return _groups(query) if query.group else _rows(query)


def of_total(query: Query) -> Sql:
    """Return the statement that counts all rows or groups."""
    where = _where(query)
    if not query.group:
        return Sql(f"SELECT count(*) FROM rows{where.text}", where.values)
    names = ", ".join(_of(query, name) for name in query.group)
    return Sql(f"SELECT count(*) FROM (SELECT DISTINCT {names} FROM rows{where.text})", where.values)


def _rows(query: Query) -> Sql:
    where = _where(query)
    order = [f"{_of(query, name)} {'DESC' if down else 'ASC'} NULLS LAST" for name, down in query.sort]
    names = ", ".join(_of(query, name) for name in query.columns) or "NULL"
    by = ", ".join([*order, "place"])
    page = f"SELECT place FROM rows{where.text} ORDER BY {by} LIMIT ? OFFSET ?"  # sorts few columns, and reads all of few rows
    text = f"SELECT {names} FROM rows WHERE place IN ({page}) ORDER BY {by}"
    return Sql(text, [*where.values, query.limit, query.offset])


def _groups(query: Query) -> Sql:
    where, outcome = _where(query), _of(query, "outcome")
    figures = {
        "images": "count(*) FILTER (status = 'ok')",
        "clean": f"favg({_of(query, 'clean')})",
        "adv": f"favg({_of(query, 'adv')})",
        **{name: f"count(*) FILTER ({outcome} = '{name}')" for name in (FAILED, SURVIVED, BROKEN)},
    }
    names = (*query.group, *FIGURES)
    places = {name: place for place, name in reversed(list(enumerate(names, 1)))}
    order = [f"{places[name]} {'DESC' if down else 'ASC'} NULLS LAST" for name, down in query.sort]
    order += [f"{places[name]} ASC NULLS LAST" for name in query.group]
    selected = ", ".join([*(_of(query, name) for name in query.group), *(figures[name] for name in FIGURES)])
    text = f"SELECT {selected} FROM rows{where.text} GROUP BY {', '.join(str(places[name]) for name in query.group)}"
    return Sql(f"{text} ORDER BY {', '.join(order)} LIMIT ? OFFSET ?", [*where.values, query.limit, query.offset])


def _where(query: Query) -> Sql:
    """Return the conditions, with WHERE in front; nothing without any."""
    out = Sql("")
    for name, operator, value in query.where:
        own = _of(query, name)
        if operator in COMPARED:
            text, values = COMPARED[operator].format(own), [value]
        elif operator == "contains":
            text, values = f"contains(lower({own}), lower(?))", [value]
        elif operator == "in":
            text, values = f"{own} IN ({', '.join('?' * len(value))})" if value else "false", value
        else:
            text, values = f"{own} IS {'NOT ' if operator == 'notnull' else ''}NULL", []
        out.text += f" {'AND' if out.values or out.text else 'WHERE'} {text}"
        out.values += values
    return out


def _of(query: Query, name: str) -> str:
    return expression(name, query.rule, query.top)


def head(query: Query) -> list[str]:
    """Return the names of an answer's columns."""
    return [*query.group, *FIGURES] if query.group else list(query.columns)
