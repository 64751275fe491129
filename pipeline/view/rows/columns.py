"""Name the columns of a row as the page asks for them, and say how each is answered from the scored rows of a database."""

from typing import NamedTuple

from pipeline.errors import BadInput

TEXT, NUMBER = "text", "number"

TOPS = (1, 5)
"""The label is right if it is among the first classes, of this number."""

FAILED, WRONG, BROKEN, SURVIVED = "failed", "wrong", "broken", "survived"

OUTCOMES = {
    FAILED: "the image could not be attacked",
    WRONG: "the clean image is not right",
    BROKEN: "the clean image is right, the attacked one is not",
    SURVIVED: "both are right",
}
"""What became of an image under a decision rule; right: a share above 0.5."""


class Column(NamedTuple):
    """Describe a column: its kind, the type in which a database holds it, and what it says.

    sql    the expression that answers it, with `{clean}` and `{adv}` for the shares under a rule; empty: the column itself
    """

    kind: str
    type: str
    about: str
    sql: str = ""


def _text(about: str) -> Column:
    return Column(TEXT, "VARCHAR", about)


def _whole(about: str, type: str = "INTEGER") -> Column:
    return Column(NUMBER, type, about)


def _number(about: str) -> Column:
    return Column(NUMBER, "DOUBLE", about)


_OUTCOME = (
    f"CASE WHEN status <> 'ok' THEN '{FAILED}' WHEN {{clean}} > 0.5 THEN "
    f"CASE WHEN {{adv}} > 0.5 THEN '{SURVIVED}' ELSE '{BROKEN}' END ELSE '{WRONG}' END"
)

COLUMNS: dict[str, Column] = {
    "cell": _text("(model, defense, attack) of the campaign"),
    "model": _text("name of the model"),
    "defense": _text("name of the defense"),
    "attack": _text("name of the attack"),
    "k": _whole("transforms of one barrage"),
    "norm": _text("norm of the ball"),
    "eps": _number("radius of the ball, images in [0, 1]"),
    "shard": _text("shard of the image"),
    "image_key": _text("key of the image in its shard"),
    "label": _whole("the right class"),
    "label_name": _text("name of the right class"),
    "target": _whole("the class that a targeted attack wants"),
    "clean_class": _whole("class of the mean probability, clean"),
    "clean_class_name": _text("name of that class"),
    "adv_class": _whole("class of the mean probability, attacked"),
    "adv_class_name": _text("name of that class"),
    "clean": Column(NUMBER, "", "share of right draws, clean, under the rule", "{clean}"),
    "adv": Column(NUMBER, "", "share of right draws, attacked, under the rule", "{adv}"),
    "outcome": Column(TEXT, "", "what became of the image under the rule", _OUTCOME),
    "status": _text("ok, or why the image was not attacked"),
    "error": _text("what was wrong, in words"),
    "evaluation_draws": _whole("draws that judged the image"),
    "linf": _number("L-inf distance of the stored example"),
    "l2": _number("L2 distance of the stored example"),
    "first_break": _whole("step after which the image left because it was won"),
    "zero_gradients": _whole("steps whose gradient was zero everywhere"),
    "nonfinite_gradients": _whole("steps whose gradient held NaN or Inf"),
    "gradient_norm": _number("mean norm of the attack's gradients"),
    "clean_margin": _number("margin of the clean image"),
    "adv_margin": _number("margin of the attacked image"),
    "grad_evals": _whole("draw-gradients spent", "BIGINT"),
    "forward_evals": _whole("draws judged without a gradient", "BIGINT"),
    "seconds": _number("device seconds"),
    "unit": _text("unit of the image"),
    "picture": _whole("number of the pictures in a static export"),
}
"""Every column of a row, in the order of the table."""

STORED = {name: column for name, column in COLUMNS.items() if column.type}
"""Those that a database holds as they are."""


def share(side: str, rule: str, top: int) -> str:
    """Return the name of the column with the shares of one side, "clean" or "adv", under a rule."""
    return f"{side}_{rule}_{top}"


def quoted(name: str) -> str:
    """Return the name of a column as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def expression(name: str, rule: str, top: int) -> str:
    """Return the SQL of a column under a rule. Raises BadInput for a column that rows lack."""
    column = COLUMNS.get(name)
    if column is None:
        raise BadInput(f"column {name!r}: expected one of {', '.join(COLUMNS)}")
    return column.sql.format(**{side: quoted(share(side, rule, top)) for side in ("clean", "adv")}) or quoted(name)
