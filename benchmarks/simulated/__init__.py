"""Simulate a cluster in virtual time: the clock, the store that all share, the machines, and Ray."""
