"""Campaigns on Kubernetes, by the KubeRay operator."""
