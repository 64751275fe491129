"""Compute the transforms on GPUs by Triton kernels: windows and loops stay on the chip, and each has its own backward pass.

The eager code in `bart.transforms` defines what each kernel computes. Only `bart.dispatch` uses this room, by the names in its
table. Nothing is imported here, because Triton may be missing.
"""

__all__: list[str] = []
