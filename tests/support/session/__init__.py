"""Serve a whole session of pytest: what is made once, and which worker runs which test."""
