"""The engine at the scale of a GPU-year, without the machines: python -m benchmarks.scale status|actors"""

import argparse

from benchmarks import scale_actors, scale_status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    scale_status.add(commands)
    scale_actors.add(commands)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
