"""Run a campaign for hours under kills and restarts, and record what it holds of its machine: python -m benchmarks.long play|plot"""
