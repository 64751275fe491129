"""Hold the commands that read a store: how far it is, what its rows say, whether they are right."""
