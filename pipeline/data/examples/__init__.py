"""Read finished examples that any tool made: `files` opens them, `matching` finds the image that each belongs to."""

from pipeline.data.examples.files import Source, opened
from pipeline.data.examples.matching import checked, fit, given

__all__ = ["Source", "checked", "fit", "given", "opened"]
