"""Write files of rows, whose footers name what their rows have in common.

- `facts`: what the footer of a file says, and how it is read
- `writing`: the writer of files with such a footer
"""

from pipeline.store.footers.facts import Facts, facts_of
from pipeline.store.footers.writing import Writer

__all__ = ["Facts", "Writer", "facts_of"]
