"""Track runs without a service: trackers of another package, and runs on finished stores."""
