"""Measure the engine at the scale of a GPU-year, without the machines: python -m benchmarks.scale plan|status|actors|cluster"""

import argparse

from benchmarks import scale_actors, scale_cluster, scale_plan, scale_status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for part in (scale_plan, scale_status, scale_actors, scale_cluster):
        part.add(commands)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
