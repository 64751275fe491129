"""Run the `barrage` command as `python -m pipeline`; the console script points here too."""

from pipeline import extras

with extras.explained():
    from pipeline.cli.app import app, main, more_commands

__all__ = ["app", "main", "more_commands"]

if __name__ == "__main__":
    main()
