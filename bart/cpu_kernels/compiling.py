"""Compile loops by Numba, without the interpreter's lock; the machine code is cached beside the file of the loop.

Sums and products are rounded one by one in the order of the code, as eager PyTorch and NumPy do: no option for fast arithmetic
is set. So a compiled loop gives their values bit for bit. Import this module inside a function: it loads Numba.
"""

from typing import Any

from numba import njit
from numba.extending import intrinsic

compiled: Any = njit(nogil=True, cache=True, error_model="numpy")
"""Compile a function. A division by zero gives what IEEE 754 says; so loops with divisions become vector instructions, too."""


def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return the type of a b + c, of three numbers of one type, and what generates its code."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, b, c), generate


fma: Any = intrinsic(_fma)
"""Compute a b + c, rounded once, of three numbers of one type: as PyTorch does in `addcmul` and `lerp`."""
