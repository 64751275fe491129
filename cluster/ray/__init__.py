"""Run a campaign as a job of a Ray cluster that exists, or that `ray up` makes on AWS: launcher, job script, examples."""

__all__ = ["job", "launcher"]
