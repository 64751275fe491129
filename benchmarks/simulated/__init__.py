"""A cluster in virtual time: the clock, the store that all share, the machines, and what stands in for Ray."""
