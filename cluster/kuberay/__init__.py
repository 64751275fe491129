"""Run a campaign on Kubernetes with the KubeRay operator: the launcher, its manifests and an example cluster file."""

__all__ = ["launcher"]
