"""Run units on the actors of a Ray cluster that may lose nodes at any time.

`executor` is the entry, `dispatch` decides which actor does what, `actor_pool` keeps the actors, `actor` is one of them,
`cluster` knows the nodes, `metrics` counts for dashboards, `private` holds all that depends on Ray's private interfaces.
"""

from pipeline.execution.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
