"""Share what kernels need: the launcher, random fields and numbers, and the reordering of a stack.

Nothing is imported here, because Triton may be missing.
"""

__all__: list[str] = []
