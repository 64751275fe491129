"""Every claim of speed, memory, fidelity or strength, as a script: python -m benchmarks.NAME"""
