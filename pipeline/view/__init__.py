"""Serve stores as pages in the browser."""
