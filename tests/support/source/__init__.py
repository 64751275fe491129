"""Read what the repository holds: the imports of its modules, the blocks of its pages, a package as pip installs it."""
