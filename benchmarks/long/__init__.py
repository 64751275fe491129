"""Run a campaign for hours under kills and restarts, and record what it holds of its machine."""
