"""Take whole stacks through their barrages in kernels: one node of autograd, no image moved between rounds.

Nothing is imported here, because Triton may be missing.
"""

__all__: list[str] = []
