"""Machines, never science: campaigns on Slurm, Kubernetes, Ray clusters and clouds, and checks before money is spent."""
