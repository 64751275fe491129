"""Show what the code warns of as one line on stderr, as a command shows everything else that it says to a person."""

import sys
import warnings
from typing import TextIO

from rich.text import Text

from pipeline import escaped
from pipeline.cli.common import err
from pipeline.errors import Remark


def show_warnings_as_lines() -> None:
    """Show each Remark of this process as one line, once; other warnings as Python does, what cannot be seen as letters."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, Remark):
            text = warnings.formatwarning(message, category, filename, lineno, line)
            sys.stderr.write("".join(f"{escaped.line(part)}\n" for part in text.splitlines()))
        elif str(message) not in said:
            said.add(str(message))
            err.print(Text.assemble(("warning: ", "yellow"), escaped.line(message)), soft_wrap=True)

    warnings.showwarning = show
