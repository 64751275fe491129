"""Hold the rows of stores for a page: read once, scored, and answered by queries."""
