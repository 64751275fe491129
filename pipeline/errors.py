"""What ends a command with one line: what users get wrong, and what is lost."""


class BadInput(ValueError):
    """Something the user gave cannot work: one line with the value, what was expected and what to do. Exit code 2."""


class ClusterLost(RuntimeError):
    """Ray itself is gone, not only a worker or a node: the same command goes on with the work. Exit code 1."""
