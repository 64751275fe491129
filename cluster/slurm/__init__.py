"""Campaigns as jobs of Slurm."""
