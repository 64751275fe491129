"""Decide what is worked on, in which order, and how long it takes. Nothing here reads or writes a file.

`units` cuts cells and shards into units, `unit_sizes` decides how large they are, `cost` is the one model of what an image
costs, `throughput` and `stack_sizes` measure a device, `time_left` turns what is done into a rate and a time.
"""

from pipeline.planning.cost import FORWARD, TRANSFORM
from pipeline.planning.units import Cut, Unit

__all__ = ["FORWARD", "TRANSFORM", "Cut", "Unit"]
