"""Campaigns under faults that are drawn from a seed, on real Ray processes: python -m tests.chaos --seed 17 --scenario 42"""
