"""Hold one tracker in each file. None imports its package before a run is tracked, in the process of that tracker."""
