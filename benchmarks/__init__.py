"""Measure every claim of speed, memory, fidelity or strength, each by a script: python -m benchmarks.NAME"""
