"""Let programs take the tiles of a problem pass by pass, in one launch, without a barrier over the device.

A problem has two counters, zero at first: the tickets taken, and the tiles finished. Ticket t stands for tile t % tiles of pass
t // tiles. It may begin when all tiles of the pass before are finished. A program takes a ticket, waits until it may begin,
computes, reports, and takes the next one, until the problem is over.

No program can wait forever, however few fit on the device: the holder of a ticket waits only for lower tickets, whose
holders run already. If a single program runs, it does all tiles of all passes in turn, as in Triton's interpreter.
"""

import triton
import triton.language as tl

COUNTERS = 2
"""Counters of a problem, int32."""
_LAST = tl.constexpr(1 << 20)
"""What a tile of the last pass adds to the second counter besides 1. Fewer tiles than this are finished."""


@triton.jit
def take(counters, tiles):
    """Return the tile and the pass of the next ticket, as soon as it may begin, and whether the problem is over instead.

    What the tiles of earlier passes stored is seen from now on; it has to be loaded past the first-level cache.
    """
    ticket = tl.atomic_add(counters, 1)
    turn = ticket // tiles
    finished = tl.atomic_add(counters + 1, 0)
    while finished % _LAST < turn * tiles:
        finished = tl.atomic_add(counters + 1, 0)
    return ticket % tiles, turn, finished // _LAST == tiles


@triton.jit
def report(counters, last):
    """Count a tile as finished, for the other programs, and say whether this pass is the last one."""
    tl.debug_barrier()  # what all threads stored comes before
    tl.atomic_add(counters + 1, tl.where(last, _LAST + 1, 1))
