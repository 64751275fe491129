"""Compute the denoising transforms by Triton kernels: one module or folder a filter. Nothing is imported here."""

__all__: list[str] = []
