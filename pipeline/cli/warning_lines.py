"""Show what the code warns of as one line on stderr, as a command shows everything else that it says to a person."""

import sys
import warnings

from rich.text import Text

from pipeline.cli.common import err
from pipeline.errors import Remark
from pipeline.escaped import line


def show_warnings_as_lines() -> None:
    """Show each Remark of this process as one line, once; other warnings as Python does, what cannot be seen as letters."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        number: int,
        file: object = None,
        text_line: str | None = None,
    ) -> None:
        if not issubclass(category, Remark):
            text = warnings.formatwarning(message, category, filename, number, text_line)
            sys.stderr.write("".join(f"{line(part)}\n" for part in text.splitlines()))
        elif str(message) not in said:
            said.add(str(message))
            err.print(Text.assemble(("warning: ", "yellow"), line(message)), soft_wrap=True)

    warnings.showwarning = show
