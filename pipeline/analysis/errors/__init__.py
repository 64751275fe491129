"""Say where a cell errs: which classes are taken for which, what saves an image, and on which images attacks agree.

    from pipeline.analysis import errors
    errors.errors("demo/store", "lite0-bart5-pgd")       # all of it as plain values, as the viewer and the report show it
    errors.agreement(analysis.scores("demo/store"))      # of this and the others, frames for notebooks

Every function reads rows batch by batch. What an image is under attack is decided as everywhere: under a decision rule it is
right where its share is more than one half, and `broken` where it is right clean and not under attack.
"""

from pipeline.analysis.errors.attacks import agreement, broken
from pipeline.analysis.errors.classes import Confusion, confusion
from pipeline.analysis.errors.draw_parts import parts
from pipeline.analysis.errors.gathered import errors, of_job
from pipeline.analysis.errors.health import gradients
from pipeline.analysis.errors.sureness import margins

__all__ = ["Confusion", "agreement", "broken", "confusion", "errors", "gradients", "margins", "of_job", "parts"]
