"""Answer a browser on this machine, and no other: the page over HTTP."""
