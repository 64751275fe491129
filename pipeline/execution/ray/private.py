"""Hold everything that depends on Ray's private interfaces, and the names for its untyped objects.

Ray has no public way to see that the node it started here has died, which nodes are about to leave, what its autoscaler may
add, or to listen on this machine alone. So this module uses attributes that another release may change. `USED` names each
of them, with the releases for which it is known to hold; `check` is called before any is used.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.errors import BadInput

Ray = Any
"""The module `ray`. It takes seconds to import, so it is imported only where a cluster is used."""

Handle = Any
"""A handle of a Ray actor. Ray makes its methods at run time."""

Reference = Any
"""What Ray returns for a call of an actor's method: `ray.get` waits for the answer."""

USED: Mapping[str, tuple[str, ...]] = {
    "_private.worker._global_node": ("2.60.0",),
    "_private.node.Node.dead_processes": ("2.60.0",),
    "_private.node.Node.kill_all_processes": ("2.60.0",),
    "_private.ray_constants.ENABLE_RAY_CLUSTER": ("2.60.0",),
    "_private.state.state.get_cluster_config": ("2.60.0",),
    "_private.state.state.get_draining_nodes": ("2.60.0",),
}
"""Private attributes of `ray`, and the releases of Ray with which each was tested."""

_VITAL = ("raylet", "gcs_server")
"""Processes that Ray can't work without."""


def check(ray: Ray) -> None:
    """Raise BadInput if this release of Ray lacks a private attribute that is used here. Imports nothing and starts nothing."""
    for path, releases in USED.items():
        attribute = ray
        for name in path.split("."):
            if not hasattr(attribute, name):
                raise BadInput(
                    f"Ray {ray.__version__} has no ray.{path}, which is known of Ray {', '.join(releases)}: "
                    f"install one of these, such as with: pip install ray=={releases[-1]}"
                )
            attribute = getattr(attribute, name)


def dead_process(ray: Ray) -> str:
    """Return the name of a vital process that has died, of the Ray that this process started; else an empty string."""
    node = ray._private.worker._global_node
    dead = (kind for kind, _ in node.dead_processes()) if node else ()
    return next((kind for kind in dead if kind in _VITAL), "")


def kill(ray: Ray) -> None:
    """Kill the processes of the Ray that this process started. A regular shutdown would wait for a cluster that is gone."""
    node = ray._private.worker._global_node
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False)


@contextmanager
def loopback_only(ray: Ray) -> Iterator[None]:
    """Let the Ray that is started meanwhile listen on 127.0.0.1 alone, as it does where clusters of machines are not supported.

    Its other processes read the variable; this one has read it when it imported `ray`.
    """
    variable, constants = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", ray._private.ray_constants
    before, enabled = os.environ.get(variable), constants.ENABLE_RAY_CLUSTER
    os.environ[variable], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = enabled
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def draining_nodes(ray: Ray) -> frozenset[str]:
    """Return the ids of the nodes that are about to leave the connected cluster."""
    return frozenset(ray._private.state.state.get_draining_nodes())


def node_types(ray: Ray) -> Iterator[tuple[dict[str, float], int]]:
    """Yield (resources of a node, the most nodes of that type) for each node type that the autoscaler may add."""
    config = ray._private.state.state.get_cluster_config()
    for group in config.node_group_configs if config else ():
        yield dict(group.resources), max(0, group.max_count)
