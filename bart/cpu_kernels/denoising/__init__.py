"""Compile the filters of group 10, denoising. The modules load Numba when they are imported."""
