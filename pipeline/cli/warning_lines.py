"""Show what the code warns of as one line on stderr, as a command shows everything else that it says to a person."""

import warnings
from typing import Any

from rich.text import Text

from pipeline.cli.common import err
from pipeline.errors import Remark
from pipeline.escaped import line


def show_warnings_as_lines() -> None:
    """Show each Remark of this process as one line, once; other warnings as Python does."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, Remark):
            err.print(Text.assemble(("warning: ", "yellow"), line(message)), soft_wrap=True)
        else:
            shown(message, category, *where, **more)

    warnings.showwarning = show
