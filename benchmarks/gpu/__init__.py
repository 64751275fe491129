"""Measure and check what needs a GPU; `benchmarks/gpu.sh` runs all of it."""
