"""Answer the random operations of a module that others wrote by numbers from keys, so that each row's are its own.

Other rooms use the names in `__all__`.
"""

from bart.keyed.generators import drawing
from bart.keyed.mode import UnknownRandomness
from bart.keyed.module import Habits, Keyed
from bart.keyed.trial import Code

__all__ = ["Code", "Habits", "Keyed", "UnknownRandomness", "drawing"]
