"""Campaigns as jobs of a Ray cluster, one that runs or one that a cloud lends."""
