"""Fill job files: plain files with {{ placeholders }} for values of the campaign and the cluster file."""

import json
import os
import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError

from barrage_plugins import ALLOW
from pipeline.errors import BadInput

FOLDER = Path(__file__).parent


def fill(name: str, edited_copy: str | None, **values: Any) -> str:
    """Return a template of `cluster/` with every placeholder filled.

    name         path inside `cluster/`, such as slurm/campaign.sbatch
    edited_copy  path of the site's own version of it, used instead (`recipe` in the cluster file)
    values       the placeholders
    Raises BadInput if the copy cannot be read or uses an unknown placeholder.
    """
    shipped = FileSystemLoader(FOLDER)
    try:
        loader = ChoiceLoader([DictLoader({name: Path(edited_copy).read_text()}), shipped]) if edited_copy else shipped
    except OSError as error:
        raise BadInput(f"recipe {edited_copy}: {error.strerror}: give the path of an edited copy of cluster/{name}") from None
    templates = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    templates.filters |= {"sh": lambda value: shlex.quote(str(value)), "yaml": json.dumps, "block": _block}
    try:
        return templates.get_template(name).render(values)
    except TemplateError as error:
        raise BadInput(
            f"recipe {edited_copy or f'cluster/{name}'}: {error}: use only the placeholders of cluster/{name}"
        ) from None


def _block(value: Any, indent: int) -> str:
    """Return a value as YAML lines, indented by `indent` spaces."""
    return textwrap.indent(yaml.safe_dump(value, sort_keys=False).rstrip(), " " * indent)


def process_environment(site_variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the campaign's processes: the cluster file's variables, and the modules models may call."""
    allowed = os.environ.get(ALLOW)
    return ({ALLOW: allowed} if allowed else {}) | dict(site_variables)
