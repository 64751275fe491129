"""Hold the pages, and the programs that write parts of them from the code and from results."""
