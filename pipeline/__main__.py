"""Run the `barrage` command as `python -m pipeline`; the console script points here too."""

import sys

from pipeline import extras

try:
    with extras.explained():
        from pipeline.cli.app import app, main, more_commands
except KeyboardInterrupt:
    sys.exit(130)  # 128 + SIGINT, as after it a shell says

__all__ = ["app", "main", "more_commands"]

if __name__ == "__main__":
    main()
