"""One of each kind for barrage. The entry points in pyproject.toml name them; nothing is imported before it is used."""
