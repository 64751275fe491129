"""Pretend to be what the viewer's page asks: a synthetic store with generated pictures, its queries by DuckDB, a server, an export."""
