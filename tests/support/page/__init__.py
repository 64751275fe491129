"""Pretend to be what the viewer's page asks: a synthetic store with drawn pictures, queries by DuckDB, a server, an export."""
