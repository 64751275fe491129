"""Compute the transforms that see one pixel at a time, all of them in one kernel. Nothing is imported here."""

__all__: list[str] = []
